-- ARGV: id, revision, keys as JSON, data as JSON, TTL in ms, ms until it is due or ''.
-- Writes the sign-in, unless it is revoked or the store has this revision or a later one. Refused when the memory is full.
local id, revision, keys, data, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local now = time_ms()
if is_revoked(id, now) then return 'stale' end
local found = read_sign_in(id)
if found and tonumber(found.revision) >= tonumber(revision) then return 'stale' end
claim(sign_in_key(id), 'hash')
redis.call('HSET', sign_in_key(id), 'revision', revision, 'keys', keys, 'data', data)
redis.call('PEXPIRE', sign_in_key(id), ttl)
for _, key in ipairs(keys_of({ keys = keys })) do index_add(sign_ins_key(key), text(now + ttl), id, now) end
claim(DUE, 'zset')
if ARGV[6] == '' then
  redis.call('ZREM', DUE, id)
else
  redis.call('ZADD', DUE, text(now + tonumber(ARGV[6])), id)
end
index_add(SIGN_INS, text(now + ttl), id, now)
for _, gone in ipairs(index_trim(SIGN_INS, MAX_SIGN_INS)) do drop_sign_in(gone, now) end
return 'done'
