-- ARGV: id. The sign-in, if there is one.
local found = read_sign_in(ARGV[1])
return flat(found and { found } or {})
