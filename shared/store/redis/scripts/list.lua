-- ARGV: kind of reports.
-- {member id, text, member id, text …} of reports that have not expired. '?' for one of another type or too long.
local page = {}
local index = reports_key(ARGV[1])
if type_of(index) ~= 'zset' then return page end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', index, text(time_ms()), '+inf', 'LIMIT', 0, MAX_REPORTS)) do
  local value = read_report(ARGV[1], id)
  -- Missing when it has just expired.
  if value then
    page[#page + 1] = id
    page[#page + 1] = value
  end
end
return page
