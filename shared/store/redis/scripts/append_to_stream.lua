-- ARGV: stream, how many entries it keeps, texts.
-- Appends all texts or none, and keeps exactly the newest.
local key, field = stream_key(ARGV[1])
claim(key, 'stream')
for i = 3, #ARGV do redis.call('XADD', key, 'MAXLEN', ARGV[2], '*', field, ARGV[i]) end
return redis.status_reply('OK')
