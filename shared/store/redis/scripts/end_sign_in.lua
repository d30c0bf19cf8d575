-- ARGV: id, TTL of the revocation in ms.
-- Removes the sign-in, and revokes its id.
local now = time_ms()
local ttl = tonumber(ARGV[2])
-- First: a removal is possible when the memory is full.
drop_sign_in(ARGV[1], now)
if ttl <= 0 then return 'ok' end
claim(REVOKED, 'zset')
redis.call('ZADD', REVOKED, 'GT', text(now + ttl), ARGV[1])
index_tidy(REVOKED, now)
redis.call('ZREMRANGEBYRANK', REVOKED, 0, -MAX_REVOKED - 1)
return 'ok'
