-- ARGV: id, TTL of the revocation in ms.
-- Removes the sign-in, and revokes its id.
local now = time_ms()
-- First: a removal is possible when the memory is full.
drop_sign_in(ARGV[1], now)
revoke(ARGV[1], tonumber(ARGV[2]), now)
return 'ok'
