-- ARGV: session id, owner, epoch, kind of the change, then what it needs.
-- Changes the session only if owner and epoch match, else 'lost'. Releasing, closing, opening and
-- removing works also when the memory is full (see announce.lua).
local id, kind, first, second, third = ARGV[1], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local head = held_head(id, ARGV[2], ARGV[3])
if not head then return 'lost' end
local now = time_ms()
local changes = {}

-- `first`: the successor or ''.
changes['release'] = function()
  clear_successor(id)
  redis.call('HSET', session_key(id), 'state', 'released')
  if first ~= '' then set_successor(id, first) end
end

-- `first`: expiry of the tombstone in store time. The session can never be resumed, and its id not be reused until then.
-- Beyond MAX_TOMBSTONES, those that expire first are dropped.
changes['close'] = function()
  redis.call('DEL', peers_key(id), left_key(id))
  clear_successor(id)
  redis.call('HSET', session_key(id), 'state', 'closed')
  redis.call('PEXPIREAT', session_key(id), first)
  if head.alias and aliased(head.alias) == id then redis.call('PEXPIREAT', alias_key(head.alias), first) end
  owner_remove(head.owner, id, now)
  index_remove(user_key(head.user), id, now)
  index_add(CLOSED, first, id, now)
  for _, gone in ipairs(index_trim(CLOSED, MAX_TOMBSTONES)) do redis.call('DEL', session_key(gone)) end
end

-- Removes the expiry. A released session stays so; `opened` tells its successor that the host has connected. Counted once.
changes['open'] = function()
  if head.opened then return 'done' end
  redis.call('PERSIST', session_key(id))
  redis.call('PERSIST', peers_key(id))
  redis.call('PERSIST', left_key(id))
  if head.alias and aliased(head.alias) == id then redis.call('PERSIST', alias_key(head.alias)) end
  redis.call('HSET', session_key(id), 'opened', '1', 'state', head.state == 'created' and 'open' or head.state)
  owner_add(head.owner, '+inf', id, now)
  index_add(user_key(head.user), '+inf', id, now)
  claim(COUNTERS, 'hash')
  if redis.pcall('HINCRBYFLOAT', COUNTERS, HOSTED_COUNTER, '1').err then redis.call('HSET', COUNTERS, HOSTED_COUNTER, '1') end
end

-- `first`: '1' to lock it or ''.
changes['lock'] = function()
  if first == '1' then
    redis.call('HSET', session_key(id), 'locked', '1')
  else
    redis.call('HDEL', session_key(id), 'locked')
  end
end

-- `first`: peer id, `second`: token id as JSON, `third`: record as JSON. Does not rewrite the others. A peer keeps its place in
-- the order of joining.
changes['put-peer'] = function()
  local before = type_of(peers_key(id)) == 'hash' and redis.call('HGET', peers_key(id), first)
  local turn = before and whole(string.match(before, '^(%d+)\n'))
    or redis.call('HINCRBY', session_key(id), 'turn', 1)
  claim(peers_key(id), 'hash')
  redis.call('HSET', peers_key(id), first, text(turn) .. '\n' .. second .. '\n' .. third)
  expire_with_head(id, peers_key(id))
end

-- `first`: peer id, `second`: expiry of its revoked token in store time. Beyond MAX_LEFT tokens, those that expire first are
-- dropped.
changes['remove-peer'] = function()
  local record = type_of(peers_key(id)) == 'hash' and redis.call('HGET', peers_key(id), first)
  if not record then return 'done' end
  redis.call('HDEL', peers_key(id), first)
  local token = string.match(record, '^%d+\n([^\n]+)\n')
  if token then
    claim(left_key(id), 'zset')
    redis.call('ZADD', left_key(id), second, token)
    redis.call('ZREMRANGEBYSCORE', left_key(id), '-inf', text(now))
    redis.call('ZREMRANGEBYRANK', left_key(id), 0, -MAX_LEFT - 1)
    expire_with_head(id, left_key(id))
  end
end

-- Unique per call.
changes['next-clock'] = function() return redis.call('HINCRBY', session_key(id), 'clock', 1) end

local reply = changes[kind]()
if reply then return reply end
publish('session ' .. id)
return 'done'
