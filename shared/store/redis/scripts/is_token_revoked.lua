-- ARGV: token id. 1 when it is revoked.
local now = time_ms()
for _, key in ipairs({ REVOKED, OLD_REVOKED }) do
  local till = type_of(key) == 'zset' and redis.call('ZSCORE', key, ARGV[1])
  if till and tonumber(till) > now then return 1 end
end
return 0
