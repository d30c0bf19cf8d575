-- ARGV: key. The sign-ins with this key.
local found = {}
local key = sign_ins_key(ARGV[1])
if type_of(key) ~= 'zset' then return found end
local now = time_ms()
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, text(now), '+inf', 'LIMIT', 0, MAX_SIGN_INS_OF_KEY)) do
  local sign_in = read_sign_in(id)
  if sign_in then found[#found + 1] = sign_in end
end
return flat(found)
