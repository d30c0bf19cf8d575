-- Decides who may own a session, like shared/store/ownership.ts; a property test compares the two.
-- `head`: owner, incarnation, state, successor. `claimant`: worker, incarnation, evidence, evidence_of.
-- Leases: held, incarnation, age.

local function holder_of(head)
  if head.state == 'released' then return head.successor or head.owner end
  return head.owner
end

local function is_held_by_another(lease, incarnation)
  return lease.held and lease.incarnation ~= incarnation
end

local function decide_take_over(head, claimant, holder)
  if not holder.held then return 'own', 'lease-gone', true end
  -- The record's incarnation is the owner's; a successor may have any.
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

-- The verdict ('own', 'elsewhere', 'closed'), and with 'own' the cause and whether the epoch rises.
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

-- The outcome of an owner's reassertion: 'written', 'kept' or 'lost'. `head`: nil, or owner, epoch and state. `asserted`:
-- owner, incarnation, epoch, closed.
local function decide_reassert(head, asserted, lease)
  if is_held_by_another(lease, asserted.incarnation) then return 'lost' end
  local stored_epoch = head and tonumber(head.epoch)
  if not head or stored_epoch < asserted.epoch then return 'written' end
  if stored_epoch > asserted.epoch or head.owner ~= asserted.owner then return 'lost' end
  if head.state == 'closed' then return asserted.closed and 'kept' or 'lost' end
  if asserted.closed then return 'written' end
  return head.incarnation == asserted.incarnation and 'kept' or 'lost'
end
