-- Follows the scripts that it can run, each as a function of its arguments (load-scripts.ts).
-- ARGV: for each script that is to run its name, the number of its arguments, and these.
-- Runs them in this order, each on its own: what fails does not keep the others from running. {number of the last change,
-- {1, reply} or {0, error} of each}.
local replies = { 0 }
local at = 1
while at <= #ARGV do
  local count = tonumber(ARGV[at + 1])
  local arguments = {}
  for i = 1, count do arguments[i] = ARGV[at + 1 + i] end
  local ok, reply = pcall(scripts[ARGV[at]], arguments)
  -- An error of Redis is a table since version 7.
  if not ok then reply = type(reply) == 'table' and reply.err or tostring(reply) end
  replies[#replies + 1] = { ok and 1 or 0, reply }
  at = at + 2 + count
end
replies[1] = whole(read_string(VERSION)) or 0
return replies
