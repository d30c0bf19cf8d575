-- ARGV: member id, incarnation, record as JSON, '1' when others should hear of it at once.
-- Extends the lease and replaces the record only for the incarnation that holds it; costs the same however many members
-- there are. Works also when the memory is full (see announce.lua): a full store must not end all leases.
local id, incarnation, record = ARGV[1], ARGV[2], ARGV[3]
local value = read_string(member_key(id))
if not value then return 'expired' end
if string.sub(value, 1, 16) ~= incarnation then return 'replaced' end
redis.call('PEXPIRE', member_key(id), LEASE_MS)
redis.call('SET', member_key(id), incarnation .. record, 'PX', LEASE_MS)
claim(MEMBERS, 'zset')
redis.call('ZADD', MEMBERS, text(time_ms()), id)
if ARGV[4] == '1' then tell('members') end
return 'renewed'
