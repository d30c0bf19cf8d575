-- ARGV: prefix. {name, sum, name, sum …} of all counters with it.
-- Reads at most about twice MAX_COUNTERS, however many were planted.
local start, found = ARGV[1], {}
if type_of(COUNTERS) ~= 'hash' then return found end
local all
if redis.call('HLEN', COUNTERS) <= 2 * MAX_COUNTERS then
  all = redis.call('HGETALL', COUNTERS)
else
  all = redis.call('HSCAN', COUNTERS, 0, 'COUNT', MAX_COUNTERS)[2]
end
for i = 1, #all, 2 do
  if string.sub(all[i], 1, #start) == start and #all[i] <= 200 and #all[i + 1] <= 64 then
    found[#found + 1] = all[i]
    found[#found + 1] = all[i + 1]
  end
end
return found
