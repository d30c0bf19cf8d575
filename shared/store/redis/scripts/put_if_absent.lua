-- ARGV: name, proposal. Keeps the proposal unless a text is kept already; returns what is kept.
local key = agreed_key(ARGV[1])
local kept = read_string(key)
if kept then return kept end
redis.call('SET', key, ARGV[2])
return ARGV[2]
