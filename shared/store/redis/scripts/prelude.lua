-- Precedes every script, after the constants of load-scripts.ts: the names of all keys, the store's time, and protection
-- from values that other programs have planted.
--
-- KEYS[1] is the prefix of all keys, with a hash tag that keeps them on one node of a cluster. Keys whose names depend on
-- values read before cannot be declared, and need not be.

local prefix = KEYS[1]

local BOOT = prefix .. 'boot'           -- string: store time at which an empty store was first seen
local VERSION = prefix .. 'version'     -- string: number of the last published change
local MEMBERS = prefix .. 'members'     -- zset: member ids by store time of their last heartbeat
local OWNERS = prefix .. 'owners'       -- zset: ids of workers that own sessions, by expiry of the last one
local CLOSED = prefix .. 'closed'       -- zset: tombstones by expiry
local REVOKED = prefix .. 'revoked'     -- zset: ids of revoked tokens, by expiry
local OLD_REVOKED = prefix .. 'buried'  -- one version: the previous name; both are written and read
local SIGN_INS = prefix .. 'sign-ins'   -- zset: sign-ins at identity providers by expiry
local DUE = prefix .. 'sign-ins-due'    -- zset: those that are to be checked by when
local COUNTERS = prefix .. 'counters'   -- hash: name to sum
local TURN = prefix .. 'turn'           -- string: number of the last ticket, for their order

local function member_key(id) return prefix .. 'member:' .. id end        -- string with TTL: incarnation, then JSON
local function agreed_key(name) return prefix .. 'agreed:' .. name end    -- string
local function role_key(role) return prefix .. 'role:' .. role end        -- string with TTL: id of the leader
local function report_key(kind, id) return prefix .. 'report:' .. kind .. ':' .. id end  -- string with TTL
local function reports_key(kind) return prefix .. 'reports:' .. kind end  -- zset: member ids by expiry of their report
local function session_key(id) return prefix .. 'session:' .. id end      -- hash
local function peers_key(id) return prefix .. 'peers:' .. id end          -- hash: peer id to turn, token id, record
local function left_key(id) return prefix .. 'left:' .. id end            -- zset: token ids of peers who left, by expiry
local function alias_key(alias) return prefix .. 'alias:' .. alias end    -- string: session id
local function owner_key(worker) return prefix .. 'owner:' .. worker end  -- zset: session ids by expiry
local function user_key(user) return prefix .. 'user:' .. user end        -- zset: session ids by expiry
local function ticket_key(kind, token) return prefix .. 'ticket:' .. kind .. ':' .. token end  -- hash with TTL
local function tickets_key(kind) return prefix .. 'tickets:' .. kind end  -- zset: tokens by expiry
local function group_key(kind, group) return prefix .. 'group:' .. kind .. ':' .. group end    -- zset: tokens by turn
local function sign_in_key(id) return prefix .. 'sign-in:' .. id end      -- hash with TTL
local function sign_ins_key(key) return prefix .. 'sign-ins-of:' .. key end  -- zset: their ids by expiry

-- The key of a stream, and the field that has the text of an entry.
local function stream_key(name)
  if name == 'events' then return prefix .. 'events', 'event' end
  return prefix .. 'stream:' .. name, 'text'
end

-- Whole numbers as text: Lua would write 1.7e+12.
local function text(number) return string.format('%.0f', number) end

-- The store's time in ms. It does not advance within a script.
local function time_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A stored number if it is a whole one that a double holds exactly; else nil.
local function whole(value)
  if type(value) ~= 'string' or not string.find(value, '^%d+$') or #value > 15 then return nil end
  return tonumber(value)
end

-- --- values of a wrong type ---

local function type_of(key) return redis.call('TYPE', key).ok end

-- Removes a planted value of another type.
local function claim(key, wanted)
  local found = type_of(key)
  if found ~= wanted and found ~= 'none' then redis.call('DEL', key) end
end

-- A string of at most MAX_VALUE_BYTES; nil when there is none, or another type.
local function read_string(key)
  local value = redis.pcall('GETRANGE', key, 0, MAX_VALUE_BYTES)
  if type(value) ~= 'string' or value == '' or #value > MAX_VALUE_BYTES then return nil end
  return value
end

-- --- indexes: members with an expiry as score, '+inf' for never ---

-- Removes expired members, and lets the key expire with its last member. Redis does these writes also when its memory is
-- full: a script that must be refused then does another write first.
local function index_tidy(key, now)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', text(now))
  local last = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')
  if last[2] == 'inf' then
    redis.call('PERSIST', key)
  elseif last[2] then
    redis.call('PEXPIREAT', key, text(tonumber(last[2])))
  end
end

local function index_add(key, expiry, member, now)
  claim(key, 'zset')
  redis.call('ZADD', key, expiry, member)
  index_tidy(key, now)
end

local function index_remove(key, member, now)
  if type_of(key) ~= 'zset' then return end
  redis.call('ZREM', key, member)
  index_tidy(key, now)
end

-- Removes the members beyond `most` that expire first, a few at a time, and returns them.
local function index_trim(key, most)
  local over = math.min(redis.call('ZCARD', key) - most, 10)
  local gone = {}
  if over <= 0 then return gone end
  local popped = redis.call('ZPOPMIN', key, over)
  for i = 1, #popped, 2 do gone[#gone + 1] = popped[i] end
  return gone
end

-- --- changes ---

-- Publishes a change, after the change itself. Numbered, so that a listener notices a missed one.
local function publish(change)
  local version = redis.pcall('INCR', VERSION)
  if type(version) ~= 'number' then
    redis.call('SET', VERSION, '1')
    version = 1
  end
  redis.call('PUBLISH', prefix .. CHANNEL, text(version) .. ' ' .. change)
end

-- --- leases ---

-- Whether any member has sent a heartbeat within a lease. None has after an outage of the store: then all leases have
-- expired although their members live. Without members there is none to wait for.
local function has_heartbeats(now)
  if type_of(MEMBERS) ~= 'zset' then return true end
  local last = redis.call('ZRANGE', MEMBERS, -1, -1, 'WITHSCORES')
  return not last[2] or tonumber(last[2]) > now - LEASE_MS
end

-- How long the store has been in use without interruption. A store without the boot key is new or was flushed; one without
-- heartbeats was unavailable. Then this sets the key, and for SETTLING_MS missing records do not count as gone.
local function settled_ms(now)
  local boot = whole(read_string(BOOT))
  if boot and boot <= now and has_heartbeats(now) then return now - boot end
  -- While settling there are no heartbeats at first: do not start over.
  if boot and boot <= now and now - boot < SETTLING_MS then return now - boot end
  -- First a write that Redis allows when the memory is full.
  redis.call('DEL', BOOT)
  redis.call('SET', BOOT, text(now))
  return 0
end

-- The lease of member `id`. While the store settles, a missing one counts as held by `assumed`.
local function lease_of(id, assumed, now)
  local key = member_key(id)
  local value = read_string(key)
  local ttl = redis.call('PTTL', key)
  if value and ttl > 0 then
    return { held = true, incarnation = string.sub(value, 1, 16), age = math.max(0, LEASE_MS - ttl) }
  end
  local settled = settled_ms(now)
  if settled < SETTLING_MS then return { held = true, incarnation = assumed, age = settled } end
  return { held = false }
end
