-- ARGV: role, member id.
-- Releases the role if this member has it.
if read_string(role_key(ARGV[1])) == ARGV[2] then redis.call('DEL', role_key(ARGV[1])) end
return 'ok'
