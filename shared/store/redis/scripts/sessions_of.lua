-- ARGV: worker.
-- Ids of the sessions of this owner, at most MAX_SESSIONS.
if type_of(owner_key(ARGV[1])) ~= 'zset' then return {} end
return redis.call('ZRANGEBYSCORE', owner_key(ARGV[1]), '(' .. text(time_ms()), '+inf', 'LIMIT', 0, MAX_SESSIONS)
