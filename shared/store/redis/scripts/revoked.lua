-- Precedes the scripts that revoke ids, of tokens and of sign-ins.

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
