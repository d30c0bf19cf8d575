-- ARGV: session id, owner, incarnation, epoch, state, user id as JSON, clock, store time of its creation, alias as JSON or
-- '', the alias itself if it could be a session id or '', expiry of revoked tokens in store time, '1' if the session is locked or
-- '', then the revoked tokens as JSON.
-- Writes the head of the session from its owner's copy, if ownership.lua says so. The owner writes the peers afterwards.
-- Works also when the memory is full (see announce.lua): a live session must be in the store.
local id, owner, incarnation, epoch, state, user = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local alias, alias_id, till = ARGV[9], ARGV[10], ARGV[11]
local now = time_ms()
local head = read_head(id)
local asserted = { owner = owner, incarnation = incarnation, epoch = whole(epoch), closed = state == 'closed' }
local verdict = decide_reassert(head, asserted, lease_of(owner, incarnation, now))
if verdict ~= 'written' then return verdict end

local peers_go = head and (head.owner ~= owner or head.epoch ~= epoch)
redis.call('DEL', session_key(id))
if peers_go or not head or state == 'closed' then redis.call('DEL', peers_key(id), left_key(id)) end
if head then
  owner_remove(head.owner, id, now)
  index_remove(user_key(head.user), id, now)
end
redis.call('HSET', session_key(id), 'owner', owner, 'incarnation', incarnation, 'epoch', epoch, 'state', state,
  'user', user, 'clock', ARGV[7], 'created', ARGV[8])
if ARGV[12] == '1' then redis.call('HSET', session_key(id), 'locked', '1') end
local before = alias ~= '' and aliased(alias) or nil
local is_taken = (before and before ~= id and is_open(before)) or (alias_id ~= '' and is_open(alias_id))
if alias ~= '' and not is_taken then
  if before and before ~= id then redis.call('HDEL', session_key(before), 'alias') end
  redis.call('HSET', session_key(id), 'alias', alias)
  redis.call('SET', alias_key(alias), id)
else
  alias = ''
end
for i = 13, #ARGV do redis.call('ZADD', left_key(id), till, ARGV[i]) end

if state == 'closed' then
  redis.call('DEL', left_key(id))
  redis.call('PEXPIREAT', session_key(id), till)
  if alias ~= '' then redis.call('PEXPIREAT', alias_key(alias), till) end
  index_add(CLOSED, till, id, now)
  for _, gone in ipairs(index_trim(CLOSED, MAX_TOMBSTONES)) do redis.call('DEL', session_key(gone)) end
elseif state == 'created' then
  redis.call('PEXPIRE', session_key(id), UNOPENED_MS)
  redis.call('PEXPIRE', left_key(id), UNOPENED_MS)
  if alias ~= '' then redis.call('PEXPIRE', alias_key(alias), UNOPENED_MS) end
  owner_add(owner, text(now + UNOPENED_MS), id, now)
  index_add(user_key(user), text(now + UNOPENED_MS), id, now)
else
  redis.call('HSET', session_key(id), 'opened', '1')
  owner_add(owner, '+inf', id, now)
  index_add(user_key(user), '+inf', id, now)
end
publish('session ' .. id)
return 'written'
