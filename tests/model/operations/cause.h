// Cause of death: the reaper leaves {pid, claims of the dead} in the record's lease word before it returns the claim. Stamps have claims 0,
// leases never, so nobody takes a stamp for a lease; it is written as a lease is begun, and who looks at leases leaves the stamp of this very
// claim alone.
#pragma once
#include "pc.h"

inline int Model::birth(State& s, Proc& p) {  // between WRITING and READY: nobody else looks at the word
  u16& l = s.page[page_of(p.r)].lease[p.off];
  NEEDS_ROOM;
  l = p.stamp ? p.stamp : stamp(BIRTH, 0, 0);  // a mover's stamp goes with the item
  landed(s, page_of(p.r), gen_of(p.r), "a stamp landed on a page in another life");
  if (has(kBirthLate)) return go(p, PU_STORE_HINT, "push: stamp");
  return go(p, p.to ? MV_SOURCE : PU_PUBLISH, "push: stamp");
}
inline int Model::stamp_death(State& s, Proc& p) {
  u16& l = s.page[page_of(p.r)].lease[p.off];
  int cited = rec(p.w).claims;
  switch (p.pc) {
    case RP_LEASE: p.lease = l; return go(p, has(kCauseNoRecheck) || has(kCauseLate) ? RP_STAMP : RP_AGAIN, "reap: the lease is %x", l);
    case RP_AGAIN: {
      bool same = !((load(s, p, word_at(p.r, p.off)) ^ p.w) & ~kItemBits);
      if (!same) p.lease = 0, p.w = 0;
      return go(p, same ? RP_STAMP : RP_WORD, same ? "reap: still that claim" : "reap: the claim is gone");
    }
    case RP_STAMP: {
      NEEDS_EMPTY;
      Rec now = rec(s.page[page_of(p.r)].word[p.off]);
      bool live = now.state == CLAIMED && (int)now.claims == lease_claims(l) && !slot_dead(s, now.owner);
      u16 death = stamp(DEATH, p.tgt, cited);
      bool ok = has(kCauseStored) || cas_lease(s, p.r, p.off, p.lease, death);
      if (ok && live) fail("the lease of a live claim was overwritten by a stamp");
      if (ok) l = death;
      landed(s, page_of(p.r), gen_of(p.r), "a stamp landed on a page in another life");
      p.lease = 0;
      if (has(kCauseLate)) {
        p.w = 0;
        return go(p, RP_WORD, "reap: the cause of death (late)");
      }
      return go(p, ok ? RP_RETURN : RP_LEASE, ok ? "reap: the cause of death of claim %d" : "reap: the lease changed", cited);
    }
  }
  abort();
}
// A claimer that finds a record at its limit reads the stamp before it claims: later, somebody may begin the lease of its own claim.
inline void Model::check_cause(const State& s, const Proc& p) {
  Rec r = rec(p.tw);
  int died = s.cause[r.item];
  bool cites = stamp_kind(p.stamp) == DEATH && stamp_cited(p.stamp) == (int)((r.claims - 1) & 7);
  if (died && !cites) fail("the cause of death is lost");
  if (died && cites && stamp_pid(p.stamp) != died) fail("the cause of death names another");
  if (cites && !(s.died[r.item] >> stamp_cited(p.stamp) & 1)) fail("a cause of death without a death");
}
