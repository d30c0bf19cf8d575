-- ARGV: member id, incarnation.
-- Removes the record if this incarnation still holds it; never that of a newer one.
local id = ARGV[1]
local value = read_string(member_key(id))
if not value or string.sub(value, 1, 16) ~= ARGV[2] then return 'ok' end
redis.call('DEL', member_key(id))
if type_of(MEMBERS) == 'zset' then redis.call('ZREM', MEMBERS, id) end
publish('members')
return 'ok'
