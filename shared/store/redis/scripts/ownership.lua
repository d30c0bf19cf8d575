-- Who may own a session: the decision alone, the same as shared/store/ownership.ts, to which a property test holds
-- it. `head`: owner, incarnation, state, successor. `claimant`: worker, incarnation, evidence, evidence_of. Leases: held, incarnation, age.

local function holder_of(head)
  if head.state == 'released' then return head.successor or head.owner end
  return head.owner
end

local function is_held_by_another(lease, incarnation)
  return lease.held and lease.incarnation ~= incarnation
end

local function decide_take_over(head, claimant, holder)
  if not holder.held then return 'own', 'lease-gone', true end
  -- The record names the incarnation of the owner; a successor may come in any.
  if head.state ~= 'released' and is_held_by_another(holder, head.incarnation) then
    return 'own', 'replaced', true
  end
  if claimant.evidence_of and claimant.evidence_of ~= holder.incarnation then return 'elsewhere' end
  if claimant.evidence == 'exited' then return 'own', 'exited', true end
  if claimant.evidence == 'refused' and holder.age >= REFUSED_HEARTBEAT_AGE_MS then
    return 'own', 'refused', true
  end
  return 'elsewhere'
end

-- Verdict ('own', 'elsewhere', 'closed'), and with 'own' the cause and whether the epoch goes up.
local function decide_resume(head, claimant, holder_lease, claimant_lease)
  if head.state == 'closed' then return 'closed' end
  if is_held_by_another(claimant_lease, claimant.incarnation) then return 'elsewhere' end
  if head.owner == claimant.worker then
    if head.incarnation ~= claimant.incarnation then return 'own', 'restarted', true end
    if head.state ~= 'released' then return 'own', 'mine', false end
  end
  if head.state == 'released' and (head.successor or claimant.worker) == claimant.worker then
    return 'own', 'handed', true
  end
  return decide_take_over(head, claimant, holder_lease)
end

local function next_epoch(previous, now) return math.max(previous + 1, now) end

-- What becomes of an owner's word about its session: 'written', 'kept' or 'lost'. `head`: nil, or owner, epoch and state.
-- `asserted`: owner, incarnation, epoch, closed.
local function decide_reassert(head, asserted, lease)
  if is_held_by_another(lease, asserted.incarnation) then return 'lost' end
  local known = head and tonumber(head.epoch)
  if not head or known < asserted.epoch then return 'written' end
  if known > asserted.epoch or head.owner ~= asserted.owner then return 'lost' end
  if head.state == 'closed' then return asserted.closed and 'kept' or 'lost' end
  if asserted.closed then return 'written' end
  return head.incarnation == asserted.incarnation and 'kept' or 'lost'
end
