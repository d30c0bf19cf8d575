-- Ids of workers that own sessions, at most MAX_OWNERS.
local owners = {}
if type_of(OWNERS) ~= 'zset' then return owners end
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', OWNERS, '(' .. text(time_ms()), '+inf', 'LIMIT', 0, MAX_OWNERS)) do
  if #worker <= 64 and type_of(owner_key(worker)) == 'zset' then owners[#owners + 1] = worker end
end
return owners
