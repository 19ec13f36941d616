-- Takes a device's route out of a user's index, unless one of a larger generation is there.
-- KEYS: user. ARGV: device, generation.
local now = redis.call('HGET', KEYS[1], ARGV[1])
if now and tonumber(string.match(now, '^(%d+):')) <= tonumber(ARGV[2]) then
    return redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0
