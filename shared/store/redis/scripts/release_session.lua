-- ARGV: session id, owner, epoch, heir or ''.
-- Gives the session away only if owner and epoch are still as the caller says. Works also when the memory is full.
local id, heir = ARGV[1], ARGV[4]
if not held_head(id, ARGV[2], ARGV[3]) then return 'lost' end
redis.call('HDEL', session_key(id), 'heir')
redis.call('HSET', session_key(id), 'state', 'released')
if heir ~= '' then redis.call('HSET', session_key(id), 'heir', heir) end
tell('session ' .. id)
return 'done'
