-- ARGV: kind, token.
-- Removes the ticket in any state.
local kind, token = ARGV[1], ARGV[2]
local ticket = read_ticket(kind, token)
if redis.call('DEL', ticket_key(kind, token)) == 0 then return 'ok' end
index_remove(tickets_key(kind), token, time_ms())
if ticket then leave_group(kind, ticket, token) end
publish('ticket ' .. kind .. ' ' .. token)
return 'ok'
