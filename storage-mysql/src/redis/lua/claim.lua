-- Sets a device's route if its generation is larger, or equal on the same run of a node.
-- KEYS: device. ARGV: route, generation, beginning of the route up to its node, life in ms.
-- Returns whether it is set, and the other route: the displaced one, or the one that stands.
local now = redis.call('GET', KEYS[1])
local displaced = ''
if now then
    local generation, mine = tonumber(string.match(now, '^(%d+):')), tonumber(ARGV[2])
    if generation > mine then
        return { 0, now }
    end
    if generation < mine then
        displaced = now
    elseif string.sub(now, 1, #ARGV[3]) ~= ARGV[3] then
        return { 0, now }
    end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[4])
return { 1, displaced }
