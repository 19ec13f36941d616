-- Sets the route of a user on a device if its generation is larger, or equal and from the same run
-- of the node. KEYS: user. ARGV: device, route, generation, beginning of the route up to its node,
-- lifetime in ms. Returns whether the route was set, and the other route: the displaced one, or the
-- one that stays.
local now = redis.call('HGET', KEYS[1], ARGV[1])
local displaced = ''
if now then
    local generation, mine = tonumber(string.match(now, '^(%d+):')), tonumber(ARGV[3])
    if generation > mine then
        return { 0, now }
    end
    if generation < mine then
        displaced = now
    elseif string.sub(now, 1, #ARGV[4]) ~= ARGV[4] then
        return { 0, now }
    end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return { 1, displaced }
