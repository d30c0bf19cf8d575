-- ARGV: 'id' or 'key', the id or the key.
-- The sign-in with this id, or those with this key.
local ids, found = {}, {}
if ARGV[1] == 'id' then
  ids = { ARGV[2] }
elseif type_of(sign_ins_key(ARGV[2])) == 'zset' then
  ids = redis.call(
    'ZRANGEBYSCORE', sign_ins_key(ARGV[2]), text(time_ms()), '+inf', 'LIMIT', 0, MAX_SIGN_INS_OF_KEY
  )
end
for _, id in ipairs(ids) do
  local sign_in = read_sign_in(id)
  if sign_in then found[#found + 1] = sign_in end
end
return flat(found)
