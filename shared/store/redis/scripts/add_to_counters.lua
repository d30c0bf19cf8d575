-- ARGV: name, increment, name, increment …
-- Adds to all counters atomically. A counter that is not a number restarts; new names beyond MAX_COUNTERS are skipped.
-- Returns how many were skipped.
local skipped = 0
claim(COUNTERS, 'hash')
for i = 1, #ARGV, 2 do
  local name, by = ARGV[i], ARGV[i + 1]
  if redis.call('HEXISTS', COUNTERS, name) == 1 or redis.call('HLEN', COUNTERS) < MAX_COUNTERS then
    local sum = redis.pcall('HINCRBYFLOAT', COUNTERS, name, by)
    if type(sum) == 'table' and sum.err then
      if string.find(sum.err, 'OOM', 1, true) then return sum end
      redis.call('HSET', COUNTERS, name, by)
    end
  else
    skipped = skipped + 1
  end
end
return skipped
