-- ARGV: session id, owner, epoch, expiry of the tombstone in store time.
-- Closes the session only if owner and epoch match. It can never be resumed, and its id not be reused until the tombstone
-- expires. Beyond MAX_TOMBSTONES, those that expire first are dropped. Works also when the memory is full.
local id, till = ARGV[1], ARGV[4]
local head = held_head(id, ARGV[2], ARGV[3])
if not head then return 'lost' end
local now = time_ms()
redis.call('DEL', peers_key(id), left_key(id))
clear_successor(id)
redis.call('HSET', session_key(id), 'state', 'closed')
redis.call('PEXPIREAT', session_key(id), till)
if head.alias and aliased(head.alias) == id then redis.call('PEXPIREAT', alias_key(head.alias), till) end
owner_remove(head.owner, id, now)
index_remove(user_key(head.user), id, now)
index_add(CLOSED, till, id, now)
for _, gone in ipairs(index_trim(CLOSED, MAX_TOMBSTONES)) do redis.call('DEL', session_key(gone)) end
publish('session ' .. id)
return 'done'
