-- ARGV: kind, token. {question, answer} as JSON, {question} when it waits, {} when it is gone.
local ticket = read_ticket(ARGV[1], ARGV[2])
if not ticket then return {} end
if not ticket.answer then return { ticket.question } end
return { ticket.question, ticket.answer }
