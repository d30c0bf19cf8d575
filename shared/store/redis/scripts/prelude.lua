-- Put before every script, after the constants of load-scripts.ts. Here stand the names of all keys, the store's time, and
-- what protects a script from values that somebody else has planted.
--
-- KEYS[1] is the prefix of all keys. It holds a hash tag, so that all of them live on one node of a cluster; names that
-- depend on values read before cannot be declared, and need not be there.

local prefix = KEYS[1]

local BOOT = prefix .. 'boot'           -- string: store time at which an empty store was first seen
local VERSION = prefix .. 'version'     -- string: number of the last change that was told
local MEMBERS = prefix .. 'members'     -- zset: member ids by store time of their last beat
local OWNERS = prefix .. 'owners'       -- zset: ids of workers that own sessions, by expiry of the last one
local CLOSED = prefix .. 'closed'       -- zset: tombstones by the time at which they go
local REVOKED = prefix .. 'revoked'     -- zset: ids of revoked tokens, by expiry
local OLD_REVOKED = prefix .. 'buried'  -- one version: its name before; both are written and read
local COUNTERS = prefix .. 'counters'   -- hash: name to sum
local EVENTS = prefix .. 'events'       -- stream
local TURN = prefix .. 'turn'           -- string: number of the last ticket, for their order

local function member_key(id) return prefix .. 'member:' .. id end        -- string with TTL: incarnation, then JSON
local function agreed_key(name) return prefix .. 'agreed:' .. name end    -- string
local function role_key(role) return prefix .. 'role:' .. role end        -- string with TTL: id of the member that leads
local function report_key(kind, id) return prefix .. 'report:' .. kind .. ':' .. id end  -- string with TTL
local function reports_key(kind) return prefix .. 'reports:' .. kind end  -- zset: member ids by expiry of their report
local function stream_key(name) return prefix .. 'stream:' .. name end    -- stream
local function session_key(id) return prefix .. 'session:' .. id end      -- hash
local function peers_key(id) return prefix .. 'peers:' .. id end          -- hash: peer id to turn, token id, record
local function left_key(id) return prefix .. 'left:' .. id end            -- zset: token ids of peers who left, by expiry
local function alias_key(alias) return prefix .. 'alias:' .. alias end    -- string: session id
local function owner_key(worker) return prefix .. 'owner:' .. worker end  -- zset: session ids by expiry
local function user_key(user) return prefix .. 'user:' .. user end        -- zset: session ids by expiry
local function ticket_key(kind, token) return prefix .. 'ticket:' .. kind .. ':' .. token end  -- hash with TTL
local function tickets_key(kind) return prefix .. 'tickets:' .. kind end  -- zset: tokens by expiry
local function group_key(kind, group) return prefix .. 'group:' .. kind .. ':' .. group end    -- zset: tokens by turn

-- Whole numbers as text: Lua would write 1.7e+12.
local function text(number) return string.format('%.0f', number) end

-- The store's time in ms. It stands still within a script.
local function time_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A number that was read, if it is a whole one that a double holds exactly; else nil.
local function whole(value)
  if type(value) ~= 'string' or not string.find(value, '^%d+$') or #value > 15 then return nil end
  return tonumber(value)
end

-- --- values of a wrong type ---

local function type_of(key) return redis.call('TYPE', key).ok end

-- Makes room for a value of ours where another type was planted. Costs nothing else.
local function claim(key, wanted)
  local found = type_of(key)
  if found ~= wanted and found ~= 'none' then redis.call('DEL', key) end
end

-- A string of at most MAX_VALUE_BYTES; nil when there is none, or another thing.
local function read_string(key)
  local value = redis.pcall('GETRANGE', key, 0, MAX_VALUE_BYTES)
  if type(value) ~= 'string' or value == '' or #value > MAX_VALUE_BYTES then return nil end
  return value
end

-- --- indexes: members with an expiry as score, '+inf' for never ---

-- Takes out what has expired, and lets the whole key expire with its last member. A write that Redis does also when its
-- memory is full: in a script that must be refused then, another write comes first.
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

-- Takes out those that expire first of more than `most`, a few at a time, and returns them.
local function index_trim(key, most)
  local over = math.min(redis.call('ZCARD', key) - most, 10)
  local gone = {}
  if over <= 0 then return gone end
  local popped = redis.call('ZPOPMIN', key, over)
  for i = 1, #popped, 2 do gone[#gone + 1] = popped[i] end
  return gone
end

-- --- changes ---

-- Tells everybody what changed, numbered, so that a listener sees that it missed one. Comes after the change itself.
local function tell(change)
  local version = redis.pcall('INCR', VERSION)
  if type(version) ~= 'number' then
    redis.call('SET', VERSION, '1')
    version = 1
  end
  redis.call('PUBLISH', prefix .. CHANNEL, text(version) .. ' ' .. change)
end

-- --- leases ---

-- Whether somebody has beaten within a lease, as far as is known. Nobody has after the store was away for everybody: then
-- all leases have run out although their members live. Without any member there is nobody to wait for.
local function is_beating(now)
  if type_of(MEMBERS) ~= 'zset' then return true end
  local last = redis.call('ZRANGE', MEMBERS, -1, -1, 'WITHSCORES')
  return not last[2] or tonumber(last[2]) > now - LEASE_MS
end

-- For how long the store has been known to be neither empty nor deserted. A store without the key is new or was flushed;
-- one where nobody beats was away. From now on it has one, and for SETTLING_MS nothing that is missing is believed to be
-- gone.
local function settled_ms(now)
  local boot = whole(read_string(BOOT))
  if boot and boot <= now and is_beating(now) then return now - boot end
  -- While it settles nobody beats at first: that is no reason to begin again and again.
  if boot and boot <= now and now - boot < SETTLING_MS then return now - boot end
  -- First a write that is allowed when the memory is full.
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
