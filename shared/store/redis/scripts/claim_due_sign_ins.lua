-- ARGV: at most how many, lease in ms.
-- The sign-ins that are due; each is due again after the lease. Those that have expired are no longer in the index.
local now = time_ms()
local found = {}
if type_of(DUE) ~= 'zset' then return found end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', DUE, '-inf', text(now), 'LIMIT', 0, ARGV[1])) do
  local sign_in = read_sign_in(id)
  if sign_in then
    redis.call('ZADD', DUE, text(now + tonumber(ARGV[2])), id)
    found[#found + 1] = sign_in
  else
    redis.call('ZREM', DUE, id)
  end
end
return flat(found)
