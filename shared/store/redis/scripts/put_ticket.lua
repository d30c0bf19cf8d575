-- ARGV: kind, token, question as JSON, TTL in ms, group as JSON or ''.
-- Adds the ticket unless it exists: a repeated call, after a lost reply, must not undo later changes. Beyond MAX_TICKETS of
-- a kind, those that expire first are dropped. Refused when the memory is full.
local kind, token, question, ttl, group = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
if read_ticket(kind, token) then return 'ok' end
local now = time_ms()
local turn = redis.pcall('INCR', TURN)
if type(turn) ~= 'number' then
  if string.find(turn.err, 'OOM', 1, true) then return turn end
  redis.call('SET', TURN, '1')
  turn = 1
end
redis.call('DEL', ticket_key(kind, token))
redis.call('HSET', ticket_key(kind, token), 'question', question)
redis.call('PEXPIRE', ticket_key(kind, token), ttl)
index_add(tickets_key(kind), text(now + ttl), token, now)
for _, gone in ipairs(index_trim(tickets_key(kind), MAX_TICKETS)) do redis.call('DEL', ticket_key(kind, gone)) end
if group ~= '' then
  redis.call('HSET', ticket_key(kind, token), 'group', group)
  claim(group_key(kind, group), 'zset')
  local left = redis.call('PTTL', group_key(kind, group))
  redis.call('ZADD', group_key(kind, group), text(turn), token)
  redis.call('PEXPIRE', group_key(kind, group), math.max(left, ttl))
end
-- Sign-ins and joins are polled; the member that a command is for has to be notified.
if kind == 'command' then publish('ticket ' .. kind .. ' ' .. token) end
return 'ok'
