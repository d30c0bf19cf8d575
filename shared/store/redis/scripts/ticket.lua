-- Precedes the scripts for tickets. A ticket is a hash with TTL (question, answer, group); each kind has an index of all
-- tokens, for the limit, and one for each group.

-- Question and answer (false while waiting); nil when there is no ticket, or an invalid one.
local function read_ticket(kind, token)
  local key = ticket_key(kind, token)
  if type_of(key) ~= 'hash' then return nil end
  local values = redis.call('HMGET', key, 'question', 'answer', 'group')
  if not values[1] then return nil end
  for i = 1, 3 do
    if values[i] and #values[i] > MAX_TICKET_BYTES then return nil end
  end
  return { question = values[1], answer = values[2], group = values[3] or nil }
end

local function leave_group(kind, ticket, token)
  if ticket.group and type_of(group_key(kind, ticket.group)) == 'zset' then
    redis.call('ZREM', group_key(kind, ticket.group), token)
  end
end
