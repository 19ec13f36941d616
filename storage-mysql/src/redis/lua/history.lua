-- Reads what is kept of a room. KEYS: meta, kept, marks. ARGV: first seq, most messages to return,
-- most messages, most bytes, age in ms. Returns stream, head, and seq and message in turn.
local meta, kept, marks = KEYS[1], KEYS[2], KEYS[3]
local stream = redis.call('HGET', meta, 'stream')
if not stream then
    return { '0', 0, {} }
end
trim(meta, kept, marks, tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]))
local found = {}
for _, entry in ipairs(redis.call('XRANGE', kept, ARGV[1] .. '-0', '+', 'COUNT', ARGV[2])) do
    found[#found + 1] = string.match(entry[1], '^(%d+)')
    found[#found + 1] = entry[2][2]
end
return { stream, tonumber(redis.call('HGET', meta, 'head')), found }
