-- Reads the cluster to which the keys under this prefix belong, and claims them if they have no
-- owner. KEYS: stamp, young. ARGV: this cluster's identity, or 0 to read only; lease in ms. Returns
-- the identity, or 0 without an owner, and whether it was written less than one lease ago.
local owner = redis.call('GET', KEYS[1])
if owner then
    return { owner, redis.call('EXISTS', KEYS[2]) }
end
if ARGV[1] == '0' then
    return { '0', 1 }
end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], 1, 'PX', ARGV[2])
return { ARGV[1], 1 }
