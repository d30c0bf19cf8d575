-- ARGV: role, member id, TTL in ms.
-- One caller gets 'leading', until its TTL has passed without another call. With the TTL 0 the member resigns: the role is
-- free, if it had it. Works also when the memory is full (see announce.lua).
local key, holder = role_key(ARGV[1]), ARGV[2]
local leader = read_string(key)
if ARGV[3] == '0' then
  if leader == holder then redis.call('DEL', key) end
  return 'following'
end
if settled_ms(time_ms()) < SETTLING_MS then return 'following' end
if leader and leader ~= holder and redis.call('PTTL', key) > 0 then return 'following' end
redis.call('DEL', key)
redis.call('SET', key, holder, 'PX', ARGV[3])
return 'leading'
