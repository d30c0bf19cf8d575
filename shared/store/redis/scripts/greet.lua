-- Tells the time to a client that has just connected. Guarantees that an answer means: this user may run our scripts on
-- our keys, and this node takes writes (a replica, or a node that cannot save, refuses the first one).
redis.call('PERSIST', BOOT)
settled_ms(time_ms())
return 'ok'
