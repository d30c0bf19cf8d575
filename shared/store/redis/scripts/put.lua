-- ARGV: kind, key, text, TTL in ms or ''.
-- Stores a text; the layout of each kind is in value.lua. Returns the text of `agreed` that is stored now.
-- Refused when the memory is full.
local kind, key, value, ttl = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local now = time_ms()
if kind == 'agreed' then
  local stored = read_string(agreed_key(key))
  if stored then return stored end
  redis.call('SET', agreed_key(key), value)
  return value
elseif kind == 'revoked' then
  revoke(key, ttl, now)
else
  local index = reports_key(kind)
  claim(index, 'zset')
  redis.call('SET', report_key(kind, key), value, 'PX', text(ttl))
  redis.call('ZADD', index, text(now + ttl), key)
  index_tidy(index, now)
  -- A new one too many is dropped; expired ones have made room.
  if redis.call('ZCARD', index) > MAX_REPORTS then
    redis.call('ZREM', index, key)
    redis.call('DEL', report_key(kind, key))
  end
end
return ''
