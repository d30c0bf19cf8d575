-- ARGV: token id, TTL in ms.
-- Revokes the token; a later expiry that was set before stays. Beyond MAX_REVOKED, those that expire first are dropped.
local ttl = tonumber(ARGV[2])
if ttl <= 0 then return 'ok' end
local now = time_ms()
for _, key in ipairs({ REVOKED, OLD_REVOKED }) do
  claim(key, 'zset')
  redis.call('ZADD', key, 'GT', text(now + ttl), ARGV[1])
  index_tidy(key, now)
  redis.call('ZREMRANGEBYRANK', key, 0, -MAX_REVOKED - 1)
end
return 'ok'
