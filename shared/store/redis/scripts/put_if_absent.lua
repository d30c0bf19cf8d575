-- ARGV: name, proposal. Stores the proposal unless there is a value; returns the stored value.
local key = agreed_key(ARGV[1])
local stored = read_string(key)
if stored then return stored end
redis.call('SET', key, ARGV[2])
return ARGV[2]
