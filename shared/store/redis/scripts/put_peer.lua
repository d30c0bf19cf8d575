-- ARGV: session id, owner, epoch, peer id, token id as JSON, record as JSON.
-- Adds or replaces one peer, only if owner and epoch match; does not rewrite the others. A peer keeps its place in the order
-- of joining. Refused when the memory is full.
local id, peer = ARGV[1], ARGV[4]
if not held_head(id, ARGV[2], ARGV[3]) then return 'lost' end
local before = type_of(peers_key(id)) == 'hash' and redis.call('HGET', peers_key(id), peer)
local turn = before and whole(string.match(before, '^(%d+)\n'))
  or redis.call('HINCRBY', session_key(id), 'turn', 1)
claim(peers_key(id), 'hash')
redis.call('HSET', peers_key(id), peer, text(turn) .. '\n' .. ARGV[5] .. '\n' .. ARGV[6])
expire_with_head(id, peers_key(id))
publish('session ' .. id)
return 'done'
