-- ARGV: session id, owner, incarnation, user id as JSON, maximum of sessions per user, alias as JSON or '', the alias
-- itself if it could be a session id or ''.
-- Creates the session, or changes nothing. Guarantees: an id is used once, an alias belongs to one session that is not
-- closed, a user has at most that many sessions that are not closed. Refused when the memory is full: the first write is
-- one that Redis refuses then.
local id, owner, incarnation, user, most, alias, alias_id =
  ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7]
local now = time_ms()

if redis.call('EXISTS', session_key(id)) == 1 then return { 'exists' } end
local before = alias ~= '' and aliased(alias) or nil
if before and is_open(before) then return { 'exists' } end
if alias_id ~= '' and is_open(alias_id) then return { 'exists' } end
if type_of(user_key(user)) == 'zset' then
  if redis.call('ZCOUNT', user_key(user), '(' .. text(now), '+inf') >= most then return { 'quota' } end
elseif most < 1 then
  return { 'quota' }
end

local epoch = text(math.max(1, now))
redis.call('HSET', session_key(id), 'owner', owner, 'incarnation', incarnation, 'epoch', epoch, 'state', 'created',
  'user', user, 'clock', '0', 'created', text(now))
redis.call('PEXPIRE', session_key(id), UNOPENED_MS)
redis.call('DEL', peers_key(id), left_key(id))
if alias ~= '' then
  -- A tombstone loses its alias.
  if before then redis.call('HDEL', session_key(before), 'alias') end
  redis.call('HSET', session_key(id), 'alias', alias)
  redis.call('SET', alias_key(alias), id, 'PX', UNOPENED_MS)
end
owner_add(owner, text(now + UNOPENED_MS), id, now)
index_add(user_key(user), text(now + UNOPENED_MS), id, now)
publish('session ' .. id)
return { 'created', record_of(id, now) }
