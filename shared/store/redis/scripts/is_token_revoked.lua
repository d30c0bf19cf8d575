-- ARGV: token id. 1 when it is revoked.
return is_revoked(ARGV[1], time_ms()) and 1 or 0
