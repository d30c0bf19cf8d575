-- ARGV: token id, for how many ms.
-- Keeps the token revoked for at least that long; a longer time that was set before stays. Of more than MAX_REVOKED, those
-- that expire first go.
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
