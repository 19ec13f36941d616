-- Puts a route into its user's index, unless one of a larger generation is there.
-- KEYS: user. ARGV: device, route, generation, life in ms.
local now = redis.call('HGET', KEYS[1], ARGV[1])
if now and tonumber(string.match(now, '^(%d+):')) > tonumber(ARGV[3]) then
    return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
