-- Removes a room's oldest messages while there are too many, or while they are too old. `marks`
-- holds "time:weight" of each kept message, oldest first. A time that is further ahead than the age
-- of a kept message was written with a wrong clock. It would block the removal of everything behind
-- it, so its message is removed at once.
local function trim(meta, kept, marks, messages, bytes, age)
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local count = redis.call('XLEN', kept)
    if count == 0 then
        redis.call('DEL', marks)
        redis.call('HSET', meta, 'bytes', 0)
        return now
    end
    local held = tonumber(redis.call('HGET', meta, 'bytes') or '0')
    local left = count
    while left > 0 do
        local mark = redis.call('LINDEX', marks, 0)
        if not mark then break end
        local at, weight = string.match(mark, '^(%d+):(%d+)$')
        if left <= messages and held <= bytes and tonumber(at) + age > now and tonumber(at) <= now + age then break end
        redis.call('LPOP', marks)
        held = held - tonumber(weight)
        left = left - 1
    end
    if left < count then
        redis.call('XTRIM', kept, 'MAXLEN', left)
        redis.call('HSET', meta, 'bytes', held)
    end
    return now
end
