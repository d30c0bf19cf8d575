-- ARGV: session id, owner, epoch.
-- Removes the expiry of the session, only if owner and epoch match. A released session stays so; `opened` tells its
-- successor that the host has connected. Counts the session once. Works also when the memory is full.
local id = ARGV[1]
local head = held_head(id, ARGV[2], ARGV[3])
if not head then return 'lost' end
if head.opened then return 'done' end
local now = time_ms()
redis.call('PERSIST', session_key(id))
redis.call('PERSIST', peers_key(id))
redis.call('PERSIST', left_key(id))
if head.alias and aliased(head.alias) == id then redis.call('PERSIST', alias_key(head.alias)) end
redis.call('HSET', session_key(id), 'opened', '1', 'state', head.state == 'created' and 'open' or head.state)
owner_add(head.owner, '+inf', id, now)
index_add(user_key(head.user), '+inf', id, now)
claim(COUNTERS, 'hash')
if redis.pcall('HINCRBYFLOAT', COUNTERS, HOSTED_COUNTER, '1').err then redis.call('HSET', COUNTERS, HOSTED_COUNTER, '1') end
publish('session ' .. id)
return 'done'
