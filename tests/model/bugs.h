// Every bug takes one cure away or seeds one error. The cured protocol is the empty set.
#pragma once
#include "state.h"
struct Bugs {  // a set
  u64 bits[4] = {};
  friend constexpr Bugs operator|(Bugs a, Bugs b) {
    for (int i = 0; i < 4; i++) a.bits[i] |= b.bits[i];
    return a;
  }
  constexpr bool meets(const Bugs& b) const { return (bits[0] & b.bits[0]) | (bits[1] & b.bits[1]) | (bits[2] & b.bits[2]) | (bits[3] & b.bits[3]); }
};
constexpr Bugs bug(int n) {
  Bugs b;
  b.bits[n / 64] = 1ull << n % 64;
  return b;
}
// clang-format off
constexpr Bugs
  kRewindFlag = bug(0), kNackDirect = bug(1), kLinkUndo = bug(2), kSpanCountsOne = bug(3), kNoLimbo = bug(4), kAnonAlloc = bug(5),
  kGenLate = bug(6), kRefNoGen = bug(7), kReapNoRaise = bug(8), kCrashBeside = bug(9), kSpillMarkOnly = bug(10), kRefillUndo = bug(11),
  kReapBeforeSection = bug(12), kSpillTwo = bug(13), kNoAnchor = bug(14),
  kNoMembarrier = bug(16), kNoPinCheck = bug(17), kAckUnpinned = bug(18), kHintOverWriting = bug(19), kSameFence = bug(20),
  kReapStores = bug(21), kSlotFreedEarly = bug(22), kReaderPassesWriting = bug(23), kRaiseFirst = bug(24), kFirstHeaderFirst = bug(25),
  kZeroAfterFree = bug(26), kReapNoLock = bug(27), kUnlinkLifeFirst = bug(28), kRefillUnpinned = bug(29), kPinsDroppedLate = bug(30),
  kLinkedBeforeNext = bug(31),
  kWaitNoBarrier = bug(32), kWakeOneClears = bug(33), kWaiterClears = bug(34), kBellAfterLook = bug(35), kNackNoWake = bug(36),
  kReapNoWake = bug(37), kWakeOneSticky = bug(38), kNoHoldPin = bug(39), kHoldScannedFirst = bug(40), kLimboUncommitted = bug(41), kRefillAba = bug(42), kGapNoRefill = bug(43), kSpillNoWake = bug(44), kDropUnsealed = bug(46),
  kMoveNoHold = bug(15), kMoveDoneBare = bug(45), kMoveOwnerOnly = bug(47), kMoveCommitFirst = bug(48), kMovePublishFirst = bug(49),
  kMoveCopyLate = bug(50), kMovePinsFirst = bug(51), kMoveAbandoned = bug(52), kMoveUnchecked = bug(53), kMoveIntentReserved = bug(54), kWakeAll = bug(55), kWakeClearsRaised = bug(56), kWakeAllSticky = bug(57), kWokenLeaves = bug(58),
  kLeaseStored = bug(59), kLeaseNoRecheck = bug(60), kLeaseOneStep = bug(61), kLeaseOverExpired = bug(62), kLeaseAnyClaims = bug(63), kLeaseNoFinish = bug(64), kLeaseNeverBegun = bug(65), kMovePublishStored = bug(66), kMoveNoHelp = bug(67), kDropGivesUp = bug(68),
  kOwnUnpinned = bug(69), kOwnPrevOnce = bug(70), kOwnSeqOnce = bug(71), kOwnTailOpen = bug(72), kOwnLaidLate = bug(73), kOwnWakeOne = bug(74), kOwnLinkStored = bug(75), kOwnNoSeal = bug(76),
  kCursorNackQuiet = bug(77), kCursorReapQuiet = bug(78), kCursorExpireQuiet = bug(79), kCursorStreamFirst = bug(80), kCursorRaiseLate = bug(81), kCursorOverWriting = bug(82), kCursorOverReturning = bug(83),
  kCursorEpochLate = bug(84), kCursorUnchecked = bug(85), kCursorStored = bug(86), kCursorNoEpoch = bug(87), kCursorKeepsGoing = bug(88), kCursorReapFirst = bug(89),
  kAllocateLifeUnlogged = bug(128), kAllocateLifeLate = bug(129), kFreeBitsFirst = bug(130), kReapBeforeAllocator = bug(131), kZeroAfterCommit = bug(132), kAllocatorNoReplay = bug(133),
  kFirstNoGen = bug(134), kGenUnchecked = bug(135), kSweepUnchecked = bug(136), kDirectoryBeforeTombs = bug(137), kFloorLogged = bug(138), kFloorLate = bug(139), kFreeEarly = bug(140), kFreeUnsettled = bug(141),
  kNoHelp = bug(142), kTombNotUnlinked = bug(143), kTombUnlinkedEarly = bug(144), kClaimUnconfirmed = bug(145), kNoSweep = bug(146), kClearNoWake = bug(147), kLookupUnlocked = bug(148), kDirectoryDecides = bug(149), kClearUnannounced = bug(153), kEmptyUnchecked = bug(154),
  kShrinkUnlinksTail = bug(150), kShrinkSealStored = bug(151), kShrinkStored = bug(152);
// clang-format on
struct BugName {
  const char* name;
  Bugs bit;
  const char* what;
};
constexpr BugName kBugs[] = {
    // the design as written, or a natural reading of it
    {"rewind_flag", kRewindFlag, "written: boolean rewind flag, cleared before the walk; head hints without epoch"},
    {"nack_direct", kNackDirect, "written: nack and reap make READY, then raise; no RETURNING state"},
    {"reap_no_raise", kReapNoRaise, "with nack_direct: the reaper does not raise for what the dead one touched"},
    {"link_undo", kLinkUndo, "written: next is set through the undo journal while walkers read it without the lock"},
    {"span_counts_one", kSpanCountsOne, "written: a WRITING or abandoned span does not say how many ids it takes"},
    {"no_limbo", kNoLimbo, "written: an unlinked page is known to its recycler only"},
    {"anon_alloc", kAnonAlloc, "written: an allocated page names no owner until it is linked"},
    {"crash_beside", kCrashBeside, "written: the crash count is in a second word"},
    {"gen_late", kGenLate, "the generation changes at reuse, not at unlink"},
    {"ref_nogen", kRefNoGen, "tail, next and first are page numbers without generation"},
    {"spill_mark_only", kSpillMarkOnly, "written: the page is marked SPILLING, its records are not"},
    {"refill_undo", kRefillUndo, "written: refill links its page through the undo journal"},
    {"refill_aba", kRefillAba, "written: refill checks only that the gap still begins where its row does"},
    {"reap_before_section", kReapBeforeSection, "the reaper walks without recovering the section first"},
    {"spill_two", kSpillTwo, "two spillers may work on one page"},
    {"drop_unsealed", kDropUnsealed, "gc looks whether the stream is idle, then drops it, without sealing the tail"},
    {"drop_gives_up", kDropGivesUp, "a dropper that meets a sealed tail without next leaves it alone"},
    {"no_anchor", kNoAnchor, "the last page before a gap may be unlinked"},
    // seeded errors
    {"no_membarrier", kNoMembarrier, "no barrier between unlink and the look at the pins (or: a pinner that is not registered)"},
    {"no_pin_check", kNoPinCheck, "the recycler does not look at pins"},
    {"ack_unpinned", kAckUnpinned, "ack compares the word only, without pin and generation"},
    {"hint_over_writing", kHintOverWriting, "the head hint passes WRITING and RETURNING"},
    {"same_fence", kSameFence, "a claim does not change the claims count"},
    {"reap_stores", kReapStores, "the reaper stores instead of comparing"},
    {"reap_no_lock", kReapNoLock, "two reapers of one slot at once"},
    {"slot_freed_early", kSlotFreedEarly, "the slot is free before the dead one's words are gone"},
    {"reader_passes_writing", kReaderPassesWriting, "a log reader steps over WRITING"},
    {"raise_first", kRaiseFirst, "nack raises the epoch, then makes READY; no RETURNING state"},
    {"first_header_first", kFirstHeaderFirst, "push_many publishes the first header before the inner ones"},
    {"zero_after_free", kZeroAfterFree, "a recycled page is free before it is zeroed"},
    {"unlink_life_first", kUnlinkLifeFirst, "unlink marks LIMBO before it takes the page off the chain"},
    {"refill_unpinned", kRefillUnpinned, "the refiller does not pin the page before the gap, so its reaper loses the evidence"},
    {"pins_dropped_late", kPinsDroppedLate, "the reaper drops the dead one's pins after it freed the slot"},
    {"linked_before_next", kLinkedBeforeNext, "a page is LINKED before a next word names it"},
    {"no_hold_pin", kNoHoldPin, "a claim is read in place without a pin"},
    {"limbo_uncommitted", kLimboUncommitted, "the recycler takes pages whose unlinking is not committed"},
    {"hold_scanned_first", kHoldScannedFirst, "the recycler reads hold pins before operation pins (pins are copied op to hold)"},
    // move
    {"move_no_hold", kMoveNoHold, "the mover does not hold the source page"},
    {"move_done_bare", kMoveDoneBare, "DONE does not keep owner and claims: any DONE is taken for the commit"},
    {"move_owner_only", kMoveOwnerOnly, "the reaper compares the owner in DONE, not the claims"},
    {"move_commit_first", kMoveCommitFirst, "the intent is stored after the commit"},
    {"move_publish_first", kMovePublishFirst, "the destination is READY before the source is DONE"},
    {"move_copy_late", kMoveCopyLate, "the payload is copied after the commit"},
    {"move_pins_first", kMovePinsFirst, "the reaper drops the dead one's pins before its walk"},
    {"move_abandoned", kMoveAbandoned, "the reaper abandons every WRITING, intent or not"},
    {"move_unchecked", kMoveUnchecked, "the mover publishes though its commit failed"},
    {"move_publish_stored", kMovePublishStored, "the mover publishes by a store though another may have done it"},
    {"move_no_help", kMoveNoHelp, "nobody finishes the committed move of one that is stopped"},
    {"move_intent_reserved", kMoveIntentReserved, "VARIANT (holds): the intent comes with the reservation; a source of 0 is abandoned"},
    // leases
    {"lease_stored", kLeaseStored, "the claimer stores its lease instead of comparing"},
    {"lease_no_recheck", kLeaseNoRecheck, "a lease is begun without another look at the record after the lease word was read"},
    {"lease_one_step", kLeaseOneStep, "the record is returned without marking the lease EXPIRED first"},
    {"lease_over_expired", kLeaseOverExpired, "extend does not look at EXPIRED"},
    {"lease_any_claims", kLeaseAnyClaims, "the lease word of an earlier claim counts"},
    {"lease_no_finish", kLeaseNoFinish, "who finds EXPIRED leaves it to the one who marked it"},
    {"lease_never_begun", kLeaseNeverBegun, "nobody begins the lease of a claimer that was stopped before it did"},
    // a page of its own
    {"own_unpinned", kOwnUnpinned, "the builder drops its pin on the page before as soon as it has linked, before LINKED"},
    {"own_prev_once", kOwnPrevOnce, "after a lost compare-exchange prev is not written again"},
    {"own_seq_once", kOwnSeqOnce, "after a lost compare-exchange first_seq is not written again"},
    {"own_tail_open", kOwnTailOpen, "the tail is not sealed before the page is linked behind it"},
    {"own_laid_late", kOwnLaidLate, "the records are laid after the page is linked"},
    {"own_no_seal", kOwnNoSeal, "the page is linked without its SEAL, which is stored after"},
    {"own_link_stored", kOwnLinkStored, "next is read as 0, then stored"},
    {"own_wake_one", kOwnWakeOne, "a batch in a page of its own wakes one"},
    // private claim cursors
    {"cursor_no_epoch", kCursorNoEpoch, "a cursor is good while its page is valid"},
    {"cursor_nack_quiet", kCursorNackQuiet, "nack does not raise the stream's epoch"},
    {"cursor_reap_quiet", kCursorReapQuiet, "the reaper does not raise it"},
    {"cursor_expire_quiet", kCursorExpireQuiet, "an expiry does not raise it"},
    {"cursor_stream_first", kCursorStreamFirst, "nack raises the stream's epoch before the page's"},
    {"cursor_reap_first", kCursorReapFirst, "the reaper raises the stream's epoch before the page's"},
    {"cursor_raise_late", kCursorRaiseLate, "nack raises the stream's epoch after READY"},
    {"cursor_stored", kCursorStored, "the stream's epoch is raised by a load and a store"},
    {"cursor_over_writing", kCursorOverWriting, "the cursor passes WRITING"},
    {"cursor_over_returning", kCursorOverReturning, "the cursor passes RETURNING"},
    {"cursor_epoch_late", kCursorEpochLate, "the cursor gets the epoch of the time at which it moves"},
    {"cursor_keeps_going", kCursorKeepsGoing, "one page without WRITING and RETURNING is enough for the cursor to move on"},
    {"cursor_unchecked", kCursorUnchecked, "the page of the cursor is pinned, not validated"},
    // the allocator's section
    {"allocate_life_unlogged", kAllocateLifeUnlogged, "the life is set in the section, not through its journal"},
    {"allocate_life_late", kAllocateLifeLate, "the life is set after the section"},
    {"free_bits_first", kFreeBitsFirst, "the bits are cleared before the section, without its journal"},
    {"reap_before_allocator", kReapBeforeAllocator, "the reaper looks for the dead one's pages without entering the allocator's section first"},
    {"zero_after_commit", kZeroAfterCommit, "a page is zeroed after its freeing is committed"},
    {"allocator_no_replay", kAllocatorNoReplay, "who enters after a death drops the journal"},
    // names, descriptors, clear
    {"first_nogen", kFirstNoGen, "an empty first does not carry the descriptor's generation"},
    {"gen_unchecked", kGenUnchecked, "no look at the descriptor's generation after the pin"},
    {"sweep_unchecked", kSweepUnchecked, "the same, in the sweep"},
    {"directory_before_tombs", kDirectoryBeforeTombs, "clear changes the directory before it sets the tombs"},
    {"floor_logged", kFloorLogged, "the floor of the ids is raised through the journal"},
    {"floor_late", kFloorLate, "it is raised after the commit"},
    {"free_early", kFreeEarly, "a tombed descriptor is free before its first is the tomb"},
    {"free_unsettled", kFreeUnsettled, "that first is the tomb is read without entering the stream's section"},
    {"no_help", kNoHelp, "who meets the tomb waits for the clearer"},
    {"tomb_not_unlinked", kTombNotUnlinked, "the last page of a tombed stream is not unlinked"},
    {"tomb_unlinked_early", kTombUnlinkedEarly, "it is unlinked before its descriptor is TOMBED"},
    {"claim_unconfirmed", kClaimUnconfirmed, "a claim does not look at the descriptor again after its compare-exchange"},
    {"clear_unannounced", kClearUnannounced, "a clear does not say in the descriptor that it has begun; only the generation is compared"},
    {"empty_unchecked", kEmptyUnchecked, "who links the first page of a stream does not look at the descriptor before"},
    {"no_sweep", kNoSweep, "VARIANT (holds): the clearer leaves the sweep to others"},
    {"clear_no_wake", kClearNoWake, "clear does not wake those who wait at the tombed stream"},
    {"lookup_unlocked", kLookupUnlocked, "the directory is read without its section"},
    {"directory_decides", kDirectoryDecides,
     "VARIANT (holds, with lookup_unlocked too): the entry is stored last, and who replays drops a journal whose entry has its new value"},
    // shrink
    {"shrink_unlinks_tail", kShrinkUnlinksTail, "the sealed tail is unlinked without a page behind it"},
    {"shrink_seal_stored", kShrinkSealStored, "the seal is stored"},
    {"shrink_stored", kShrinkStored, "next is read as 0, then stored"},
    // waiting
    {"wait_no_barrier", kWaitNoBarrier, "the waiter raises the flag without a membarrier"},
    {"wake_one_clears", kWakeOneClears, "the ring clears the flag and one is woken"},
    {"waiter_clears", kWaiterClears, "a waiter that leaves clears the flag"},
    {"bell_after_look", kBellAfterLook, "the futex value is read after the last look"},
    {"nack_no_wake", kNackNoWake, "nack does not wake"},
    {"reap_no_wake", kReapNoWake, "the reaper does not wake"},
    {"gap_no_refill", kGapNoRefill, "a waiter sleeps at a gap"},
    {"spill_no_wake", kSpillNoWake, "the spiller does not wake who slept at the records it had taken"},
    {"woken_leaves", kWokenLeaves, "a waiter that was woken when its time was over leaves without another look"},
    {"wake_clears_raised", kWakeClearsRaised,
     "raising a raised flag does not change the word; who woke nobody clears it from the value that it stored"},
    {"wake_one_sticky", kWakeOneSticky, "VARIANT (holds): the flag is never cleared"},
    {"wake_all", kWakeAll, "VARIANT (holds): the ring clears the flag, every push wakes everybody"},
    {"wake_all_sticky", kWakeAllSticky, "VARIANT (holds): the flag is cleared after the wake, every push wakes everybody"},
};
