-- ARGV: token id, for how many ms.
-- Remembers the token for at least that long, unless more than MAX_REVOKED are: then those go that would go soonest. One
-- that was buried for longer stays so.
local ttl = tonumber(ARGV[2])
if ttl <= 0 then return 'ok' end
local now = time_ms()
claim(BURIED, 'zset')
redis.call('ZADD', BURIED, 'GT', text(now + ttl), ARGV[1])
index_tidy(BURIED, now)
redis.call('ZREMRANGEBYRANK', BURIED, 0, -MAX_REVOKED - 1)
return 'ok'
