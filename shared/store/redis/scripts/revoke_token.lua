-- ARGV: token id, TTL in ms.
-- Revokes the token.
revoke(ARGV[1], tonumber(ARGV[2]), time_ms())
return 'ok'
