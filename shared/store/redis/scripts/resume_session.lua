-- ARGV: session id, worker, incarnation, evidence or '', the incarnation of the holder that it is about or ''.
-- Decides by ownership.lua and applies the decision atomically: one of several concurrent claimants gets the session, and no
-- two owners ever have the same epoch. Works also when the memory is full (see announce.lua).
local id, worker, incarnation = ARGV[1], ARGV[2], ARGV[3]
local now = time_ms()
local head = read_head(id)
if not head then return { settled_ms(now) < SETTLING_MS and 'unsettled' or 'unknown' } end

local holder = holder_of(head)
local claimant = {
  worker = worker, incarnation = incarnation, evidence = ARGV[4], evidence_of = ARGV[5] ~= '' and ARGV[5] or nil,
}
local verdict, cause, raise = decide_resume(
  head, claimant, lease_of(holder, head.incarnation, now), lease_of(worker, incarnation, now)
)
if verdict == 'closed' then return { 'closed' } end
if verdict == 'elsewhere' then return { 'elsewhere', holder, head.epoch } end
if raise then
  clear_successor(id)
  redis.call('HSET', session_key(id), 'owner', worker, 'incarnation', incarnation,
    'epoch', text(next_epoch(whole(head.epoch), now)), 'state', head.opened and 'open' or 'created')
  owner_remove(head.owner, id, now)
  owner_add(worker, expiry_of(session_key(id), now), id, now)
  publish('session ' .. id)
end
return { 'owned', cause, record_of(id, now) }
