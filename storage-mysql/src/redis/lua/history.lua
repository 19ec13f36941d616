-- Reads a page of a room's kept messages. KEYS: meta, kept, marks. ARGV: first seq, most messages
-- of the page, bytes that end it when they are passed, most messages kept, most bytes kept, age in ms. Returns
-- stream, head, whether more messages are kept, and alternating seqs and messages.
local meta, kept, marks = KEYS[1], KEYS[2], KEYS[3]
local stream = redis.call('HGET', meta, 'stream')
if not stream then
    return { '0', 0, 0, {} }
end
trim(meta, kept, marks, tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]))
local items, budget = tonumber(ARGV[2]), tonumber(ARGV[3])
local found, bytes, more, from = {}, 0, 0, ARGV[1] .. '-0'
-- One entry at a time: reading beyond the page would copy messages for nothing.
while true do
    local entry = redis.call('XRANGE', kept, from, '+', 'COUNT', 1)[1]
    if not entry then
        break
    end
    if #found >= 2 * items or bytes > budget then
        more = 1
        break
    end
    found[#found + 1] = string.match(entry[1], '^(%d+)')
    found[#found + 1] = entry[2][2]
    bytes = bytes + #entry[2][2]
    from = '(' .. entry[1]
end
return { stream, tonumber(redis.call('HGET', meta, 'head')), more, found }
