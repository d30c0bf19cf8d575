-- ARGV: the key if it could be a session id or '', the key as JSON (an alias).
-- {0, record} by id or else by alias; {} when there is none; {1} when the key holds something else.
local id, alias = ARGV[1], ARGV[2]
local now = time_ms()
if id ~= '' and read_head(id) then return { 0, record_of(id, now) } end
local found = aliased(alias)
if found then return { 0, record_of(found, now) } end
if id ~= '' and redis.call('EXISTS', session_key(id)) == 1 then return { 1 } end
return {}
