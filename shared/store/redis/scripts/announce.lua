-- ARGV: member id, incarnation, record as JSON.
-- Writes the record and starts its lease; another incarnation of the id is replaced at once. Works also when the memory is
-- full, because the first write is one that Redis never refuses for that: a worker that restarts must be listed.
local id, incarnation, record = ARGV[1], ARGV[2], ARGV[3]
local now = time_ms()
redis.call('DEL', member_key(id))
settled_ms(now)
redis.call('SET', member_key(id), incarnation .. record, 'PX', LEASE_MS)
claim(MEMBERS, 'zset')
redis.call('ZADD', MEMBERS, text(now), id)
publish('members')
return 'ok'
