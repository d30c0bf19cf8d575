-- Precedes the scripts for sign-ins. A sign-in is a hash with TTL (revision, keys, data); an index has all of them, one those
-- that are to be checked, and each key one of its own.

-- Revision, keys and data as texts; nil when there is none, or an invalid one.
local function read_sign_in(id)
  if type_of(sign_in_key(id)) ~= 'hash' then return nil end
  local values = redis.call('HMGET', sign_in_key(id), 'revision', 'keys', 'data')
  if not whole(values[1]) or not values[2] or not values[3] then return nil end
  if #values[2] > MAX_VALUE_BYTES or #values[3] > MAX_SIGN_IN_BYTES then return nil end
  return { id = id, revision = values[1], keys = values[2], data = values[3] }
end

local function keys_of(sign_in)
  local ok, keys = pcall(cjson.decode, sign_in.keys)
  return ok and type(keys) == 'table' and keys or {}
end

local function drop_sign_in(id, now)
  local sign_in = read_sign_in(id)
  for _, key in ipairs(sign_in and keys_of(sign_in) or {}) do
    if type(key) == 'string' then index_remove(sign_ins_key(key), id, now) end
  end
  redis.call('DEL', sign_in_key(id))
  if type_of(DUE) == 'zset' then redis.call('ZREM', DUE, id) end
  index_remove(SIGN_INS, id, now)
end

-- Of many: id, revision, keys and data of each, in a row.
local function flat(sign_ins)
  local reply = {}
  for _, one in ipairs(sign_ins) do
    for _, value in ipairs({ one.id, one.revision, one.keys, one.data }) do reply[#reply + 1] = value end
  end
  return reply
end
