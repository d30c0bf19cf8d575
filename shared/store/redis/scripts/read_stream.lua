-- ARGV: stream, id after which to read ('' for the newest), how many at most.
-- {id, text, id, text …}, oldest first. '' for an invalid text.
local key, field = stream_key(ARGV[1])
local page = {}
if type_of(key) ~= 'stream' then return page end
local entries
if ARGV[2] ~= '' then
  entries = redis.call('XRANGE', key, '(' .. ARGV[2], '+', 'COUNT', ARGV[3])
else
  entries = redis.call('XREVRANGE', key, '+', '-', 'COUNT', ARGV[3])
end
local count = #entries
for i = 1, count do
  local entry = ARGV[2] ~= '' and entries[i] or entries[count + 1 - i]
  local text = entry[2][1] == field and entry[2][2] or ''
  page[#page + 1] = entry[1]
  page[#page + 1] = #text <= MAX_VALUE_BYTES and text or ''
end
return page
