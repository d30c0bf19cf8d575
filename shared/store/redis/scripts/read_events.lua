-- ARGV: id before which to read ('+' for the newest), how many at most.
-- {id, event, id, event …}, newest first. Paged, so that a long history does not block Redis.
local page = {}
if type_of(EVENTS) ~= 'stream' then return page end
for _, entry in ipairs(redis.call('XREVRANGE', EVENTS, ARGV[1], '-', 'COUNT', ARGV[2])) do
  local event = entry[2][1] == 'event' and entry[2][2] or ''
  page[#page + 1] = entry[1]
  page[#page + 1] = #event <= MAX_VALUE_BYTES and event or ''
end
return page
