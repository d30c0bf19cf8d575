-- ARGV: session id, owner, epoch.
-- The next value of the session's clock, unique per call, only if owner and epoch match.
if not held_head(ARGV[1], ARGV[2], ARGV[3]) then return 'lost' end
return redis.call('HINCRBY', session_key(ARGV[1]), 'clock', 1)
