-- Removes the route of a user on a device if it has exactly this generation. Returns whether it
-- did. KEYS: user. ARGV: device, generation.
local now = redis.call('HGET', KEYS[1], ARGV[1])
if now and tonumber(string.match(now, '^(%d+):')) == tonumber(ARGV[2]) then
    return redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0
