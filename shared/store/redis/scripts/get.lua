-- ARGV: kind, key.
-- {text} as stored by put.lua, {} when there is none.
local kind, key = ARGV[1], ARGV[2]
if kind == 'revoked' then return is_revoked(key, time_ms()) and { '' } or {} end
local value
if kind == 'agreed' then value = read_string(agreed_key(key)) else value = read_report(kind, key) end
return { value }
