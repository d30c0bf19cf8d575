-- ARGV: session id, owner, epoch, peer id, expiry of its revoked token in store time.
-- Removes the peer and revokes its token atomically, only if owner and epoch match. Beyond MAX_LEFT tokens, those that
-- expire first are dropped. Works also when the memory is full.
local id, peer = ARGV[1], ARGV[4]
if not held_head(id, ARGV[2], ARGV[3]) then return 'lost' end
local record = type_of(peers_key(id)) == 'hash' and redis.call('HGET', peers_key(id), peer)
if not record then return 'done' end
local now = time_ms()
redis.call('HDEL', peers_key(id), peer)
local token = string.match(record, '^%d+\n([^\n]+)\n')
if token then
  claim(left_key(id), 'zset')
  redis.call('ZADD', left_key(id), ARGV[5], token)
  redis.call('ZREMRANGEBYSCORE', left_key(id), '-inf', text(now))
  redis.call('ZREMRANGEBYRANK', left_key(id), 0, -MAX_LEFT - 1)
  expire_with_head(id, left_key(id))
end
publish('session ' .. id)
return 'done'
