-- Precedes the scripts for texts by key, and those that revoke ids of sign-ins. By kind:
--   agreed    string agreed:KEY, without expiry
--   revoked   score in the sorted set `revoked`: when it ends
--   reports   string report:KIND:KEY with TTL, and its expiry in the sorted set reports:KIND

-- A later expiry that was set before stays. Beyond MAX_REVOKED, those that expire first are dropped.
local function revoke(id, ttl, now)
  if ttl <= 0 then return end
  for _, key in ipairs({ REVOKED, OLD_REVOKED }) do
    claim(key, 'zset')
    redis.call('ZADD', key, 'GT', text(now + ttl), id)
    index_tidy(key, now)
    redis.call('ZREMRANGEBYRANK', key, 0, -MAX_REVOKED - 1)
  end
end

local function is_revoked(id, now)
  for _, key in ipairs({ REVOKED, OLD_REVOKED }) do
    local till = type_of(key) == 'zset' and redis.call('ZSCORE', key, id)
    if till and tonumber(till) > now then return true end
  end
  return false
end

-- '?' for one of another type or too long; nil when there is none.
local function read_report(kind, id)
  local value = redis.pcall('GETRANGE', report_key(kind, id), 0, MAX_REPORT_BYTES)
  if type(value) ~= 'string' or #value > MAX_REPORT_BYTES then return '?' end
  return value ~= '' and value or nil
end
