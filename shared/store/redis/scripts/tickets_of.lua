-- ARGV: kind, group as JSON.
-- The waiting tickets of the group, oldest first: {token, question, token, question …}, at most MAX_GROUP. Removes expired
-- ones from the group.
local kind, key = ARGV[1], group_key(ARGV[1], ARGV[2])
local waiting = {}
if type_of(key) ~= 'zset' then return waiting end
for _, token in ipairs(redis.call('ZRANGE', key, 0, MAX_GROUP - 1)) do
  local ticket = read_ticket(kind, token)
  if ticket and not ticket.answer then
    waiting[#waiting + 1] = token
    waiting[#waiting + 1] = ticket.question
  else
    redis.call('ZREM', key, token)
  end
end
return waiting
