-- ARGV: token id. 1 when it is buried.
if type_of(BURIED) ~= 'zset' then return 0 end
local till = redis.call('ZSCORE', BURIED, ARGV[1])
return till and tonumber(till) > time_ms() and 1 or 0
