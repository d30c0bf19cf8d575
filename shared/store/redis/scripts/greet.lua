-- Checks a new connection. 'ok' means: this user may run our scripts on our keys, and this node accepts writes (a replica,
-- or a node that cannot save, refuses the first one).
redis.call('PERSIST', BOOT)
settled_ms(time_ms())
return 'ok'
