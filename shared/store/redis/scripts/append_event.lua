-- ARGV: event as JSON.
-- Appends the event with the store's time and keeps exactly the newest MAX_EVENTS.
claim(EVENTS, 'stream')
return redis.call('XADD', EVENTS, 'MAXLEN', MAX_EVENTS, '*', 'event', ARGV[1])
