-- ARGV: kind, token, answer as JSON.
-- The first answer stays: of concurrent calls one gets 'done'. Refused when the memory is full.
local kind, token = ARGV[1], ARGV[2]
local ticket = read_ticket(kind, token)
if not ticket then return 'gone' end
if ticket.answer then return 'answered' end
redis.call('HSET', ticket_key(kind, token), 'answer', ARGV[3])
leave_group(kind, ticket, token)
publish('ticket ' .. kind .. ' ' .. token)
return 'done'
