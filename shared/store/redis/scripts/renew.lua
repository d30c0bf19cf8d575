-- ARGV: member id, incarnation, record as JSON, '1' to publish the change.
-- Extends the lease and replaces the record, only for the incarnation that holds it; constant cost for any number of
-- members. Works also when the memory is full (see announce.lua): a full store must not end all leases.
local id, incarnation, record = ARGV[1], ARGV[2], ARGV[3]
local value = read_string(member_key(id))
if not value then return 'expired' end
if string.sub(value, 1, 16) ~= incarnation then return 'replaced' end
redis.call('PEXPIRE', member_key(id), LEASE_MS)
redis.call('SET', member_key(id), incarnation .. record, 'PX', LEASE_MS)
claim(MEMBERS, 'zset')
redis.call('ZADD', MEMBERS, text(time_ms()), id)
if ARGV[4] == '1' then publish('members') end
return 'renewed'
