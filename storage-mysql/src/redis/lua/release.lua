-- Removes a device's route if it has exactly this generation, and returns it.
-- KEYS: device. ARGV: generation.
local now = redis.call('GET', KEYS[1])
if now and tonumber(string.match(now, '^(%d+):')) == tonumber(ARGV[1]) then
    redis.call('DEL', KEYS[1])
    return now
end
return ''
