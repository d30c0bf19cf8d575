-- ARGV: kind, member id, text, TTL in ms.
-- Stores the report. Beyond MAX_REPORTS of a kind a new one is dropped; expired ones make room.
local kind, id = ARGV[1], ARGV[2]
local now = time_ms()
local index = reports_key(kind)
claim(index, 'zset')
redis.call('SET', report_key(kind, id), ARGV[3], 'PX', ARGV[4])
redis.call('ZADD', index, text(now + tonumber(ARGV[4])), id)
index_tidy(index, now)
if redis.call('ZCARD', index) > MAX_REPORTS then
  redis.call('ZREM', index, id)
  redis.call('DEL', report_key(kind, id))
end
return redis.status_reply('OK')
