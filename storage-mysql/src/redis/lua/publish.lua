-- Assigns the next seq of the room to a message, keeps it on request, and publishes it to all
-- subscribers. All in one script, so that every node receives the messages in seq order.
-- KEYS: meta, kept, marks, channel. ARGV: id of a new stream, message, keep, weight,
-- most messages, most bytes, age in ms, lifetime of the numbering in ms. Returns stream and seq.
local meta, kept, marks, channel = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local stream = redis.call('HGET', meta, 'stream')
if not stream then
    stream = ARGV[1]
    redis.call('DEL', kept, marks)
    redis.call('HSET', meta, 'stream', stream, 'head', 0, 'bytes', 0)
end
local seq = redis.call('HINCRBY', meta, 'head', 1)
local place = string.format('%.0f', seq)
local messages, bytes, age = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
-- Trims first: if `kept` has expired, this resets the marks and the byte count before it is filled.
local now = trim(meta, kept, marks, messages, bytes, age)
if ARGV[3] == '1' then
    redis.call('XADD', kept, place .. '-0', 'm', ARGV[2])
    redis.call('RPUSH', marks, string.format('%.0f', now) .. ':' .. ARGV[4])
    redis.call('HINCRBY', meta, 'bytes', ARGV[4])
    trim(meta, kept, marks, messages, bytes, age)
    redis.call('PEXPIRE', kept, age)
    redis.call('PEXPIRE', marks, age)
end
redis.call('PEXPIRE', meta, ARGV[8])
redis.call('SPUBLISH', channel, stream .. ':' .. place .. ':' .. ARGV[2])
return { stream, seq }
