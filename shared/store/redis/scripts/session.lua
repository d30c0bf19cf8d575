-- Precedes the scripts for sessions. A session is a hash (its head, FIELDS below), a hash of peers and a zset of revoked
-- tokens. A session whose host never connects expires as a whole, and so does a tombstone.

local FIELDS = {
  'owner', 'incarnation', 'epoch', 'state', 'successor', 'user', 'alias', 'clock', 'created', 'opened', 'turn', 'locked',
}
local SUCCESSOR = 5

-- One version: the previous version reads, writes and deletes the field `heir` and does not touch `successor`. So both are
-- written and deleted, and `heir` counts where they differ. A `successor` that names the owner, without `heir`, is left over
-- from when that owner, of the previous version, resumed the session.
local function successor_of(owner, successor, heir)
  if heir then return heir end
  return successor ~= owner and successor
end

local function clear_successor(id) redis.call('HDEL', session_key(id), 'successor', 'heir') end

local function set_successor(id, worker) redis.call('HSET', session_key(id), 'successor', worker, 'heir', worker) end

-- The values of FIELDS, false for a missing one.
local function head_values(id)
  local values = redis.call('HMGET', session_key(id), 'heir', unpack(FIELDS))
  local heir = table.remove(values, 1)
  values[SUCCESSOR] = successor_of(values[1], values[SUCCESSOR], heir)
  return values
end

-- The head of a session; nil when there is none or it is invalid.
local function read_head(id)
  if type_of(session_key(id)) ~= 'hash' then return nil end
  local values = head_values(id)
  local head = {}
  for i, field in ipairs(FIELDS) do
    local value = values[i]
    if value and #value > MAX_VALUE_BYTES then return nil end
    head[field] = value or nil
  end
  local complete = head.owner and head.incarnation and head.state and head.user
    and whole(head.epoch) and whole(head.clock) and whole(head.created)
  return complete and head or nil
end

-- The head if the session is open and owner and epoch match; else nil.
local function held_head(id, owner, epoch)
  local head = read_head(id)
  if not head or head.state == 'closed' or head.owner ~= owner or head.epoch ~= epoch then return nil end
  return head
end

local function is_open(id)
  local head = read_head(id)
  return head ~= nil and head.state ~= 'closed'
end

-- The session that has an alias (as JSON).
local function aliased(alias)
  local id = read_string(alias_key(alias))
  if not id or #id ~= 24 then return nil end
  local head = read_head(id)
  return head and head.alias == alias and id or nil
end

-- The expiry of a key, as a score.
local function expiry_of(key, now)
  local ttl = redis.call('PTTL', key)
  return ttl < 0 and '+inf' or text(now + ttl)
end

-- Lists a worker among the owners while it has sessions.
local function list_owner(worker, now)
  local key = owner_key(worker)
  if type_of(key) ~= 'zset' then return index_remove(OWNERS, worker, now) end
  index_add(OWNERS, expiry_of(key, now), worker, now)
  index_trim(OWNERS, MAX_OWNERS)
end

local function owner_add(worker, expiry, id, now)
  index_add(owner_key(worker), expiry, id, now)
  list_owner(worker, now)
end

local function owner_remove(worker, id, now)
  index_remove(owner_key(worker), id, now)
  list_owner(worker, now)
end

-- Lets a part of the session expire with its head.
local function expire_with_head(id, key)
  local ttl = redis.call('PTTL', session_key(id))
  if ttl > 0 then redis.call('PEXPIRE', key, ttl) end
end

-- The record as a reply: head, peers, revoked tokens, and how many parts were too large or of a wrong type and omitted.
-- Bounded, whatever was planted.
local function record_of(id, now)
  local peers, left, ignored, bytes = {}, {}, 0, 0
  local found = type_of(peers_key(id))
  if found == 'hash' and redis.call('HLEN', peers_key(id)) <= MAX_PEERS then
    local all = redis.call('HGETALL', peers_key(id))
    for i = 1, #all, 2 do
      local size = #all[i] + #all[i + 1]
      if size <= MAX_PEER_BYTES and bytes + size <= MAX_RECORD_BYTES then
        bytes = bytes + size
        peers[#peers + 1] = all[i]
        peers[#peers + 1] = all[i + 1]
      else
        ignored = ignored + 1
      end
    end
  elseif found ~= 'none' then
    ignored = ignored + 1
  end
  if type_of(left_key(id)) == 'zset' then
    left = redis.call('ZRANGEBYSCORE', left_key(id), '(' .. text(now), '+inf', 'LIMIT', 0, MAX_LEFT)
  end
  return { id, head_values(id), peers, left, ignored }
end
