-- All records with a lease: {1 when settled, number of ignored records, {id, value, id, value …}}.
-- Reads at most MAX_MEMBERS and removes at most as many stale ones, so planted entries cost little and disappear.
local now = time_ms()
local settled = settled_ms(now) >= SETTLING_MS and 1 or 0
local records, ignored = {}, 0
local found = type_of(MEMBERS)
if found == 'none' then return { settled, 0, records } end
if found ~= 'zset' then return { settled, 1, records } end

-- Live members have a score within one lease of now. Others must not displace them, whatever the clock of this node after a
-- fail-over.
local ids = redis.call(
  'ZREVRANGEBYSCORE', MEMBERS, text(now + LEASE_MS), text(now - LEASE_MS), 'LIMIT', 0, MAX_MEMBERS
)
for _, id in ipairs(ids) do
  local value = #id <= 64 and read_string(member_key(id)) or nil
  if value then
    records[#records + 1] = id
    records[#records + 1] = value
  elseif redis.call('EXISTS', member_key(id)) == 1 then
    ignored = ignored + 1
  end
end

local function clean(from, to)
  local stale = redis.call('ZRANGEBYSCORE', MEMBERS, from, to, 'LIMIT', 0, MAX_MEMBERS)
  if #stale > 0 then redis.call('ZREM', MEMBERS, unpack(stale)) end
end
clean('-inf', '(' .. text(now - LEASE_MS))
clean('(' .. text(now + LEASE_MS), '+inf')
return { settled, ignored, records }
