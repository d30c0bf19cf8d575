-- ARGV: session id, owner, epoch, '1' to lock it or '' to unlock it.
-- Only if owner and epoch match. Works also when the memory is full (see announce.lua).
local id = ARGV[1]
if not held_head(id, ARGV[2], ARGV[3]) then return 'lost' end
if ARGV[4] == '1' then
  redis.call('HSET', session_key(id), 'locked', '1')
else
  redis.call('HDEL', session_key(id), 'locked')
end
publish('session ' .. id)
return 'done'
