-- ARGV: session id, owner, epoch, successor or ''.
-- Releases the session, only if owner and epoch match. Works also when the memory is full.
local id, successor = ARGV[1], ARGV[4]
if not held_head(id, ARGV[2], ARGV[3]) then return 'lost' end
clear_successor(id)
redis.call('HSET', session_key(id), 'state', 'released')
if successor ~= '' then set_successor(id, successor) end
publish('session ' .. id)
return 'done'
