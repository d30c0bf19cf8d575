-- ARGV: event as JSON.
-- Appends it under the store's time and keeps the newest MAX_EVENTS, exactly.
claim(EVENTS, 'stream')
return redis.call('XADD', EVENTS, 'MAXLEN', MAX_EVENTS, '*', 'event', ARGV[1])
