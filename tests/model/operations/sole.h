// A sole claim: while its owner lives nobody else changes its word, so its ack is a plain store. The price is paid by who clears, and by the
// ack, which looks at the stream's state afterwards (../../../src/claim.h).
#pragma once
#include "pc.h"

inline int Model::ack_sole(State& s, Proc& p, int k) {
  const int item = rec(p.tw).item;
  auto counted = [&] { return (s.swept >> item & 1) != 0; };
  auto end = [&](const char* what) {
    drop_claim(p);
    return go(p, AC_UNHOLD, what);
  };
  switch (p.pc) {
    case AS_STORE:
      NEEDS_ROOM;
      store(p, word_at(p.tr, p.toff), pack({DONE, 0, 0, size_of(p.tw), 0, (u32)item}), p.tr);
      if (s.acked >> item & 1) fail("an item was acked twice");
      s.acked |= 1 << item;
      say("ack: store DONE, item %d", item);
      if (!sc.lanes) return end("ack: nothing clears here");
      return go(p, has(kSoleUnlooked) ? AS_OK : AS_LOOK, "ack: DONE");
    case AS_LOOK: {
      bool live = life_state(s.desc[k / sc.lanes]) == DLIVE;
      return go(p, live ? AS_OK : AS_LEASE, live ? "ack: the stream is LIVE" : "ack: the stream has been cleared");
    }
    case AS_LEASE: {  // who ends it, the clear or the ack?
      NEEDS_EMPTY;
      u16& l = s.page[page_of(p.tr)].lease[p.toff];
      landed(s, page_of(p.tr), gen_of(p.tr), "a sole claim was ended on a page in another life");
      if (lease_claims(l) != (int)rec(p.tw).claims || !lease_expired(l)) {
        l = lease(1, 1, rec(p.tw).claims);
        return go(p, AS_OK, "ack: before the clear");
      }
      if (!counted()) fail("an ack was fenced by a clear that has not counted its item");
      s.acked &= ~(1 << item);
      return end("ack: fenced");
    }
    case AS_OK:
      if (counted()) fail("a clear has counted an item whose ack returns");
      return end("ack: ok");
  }
  abort();
}
// The sweep at a sole claim: it counts the item, and leaves the record to its owner.
inline void Model::sweep_sole(State& s, Proc& p) {
  u16& l = s.page[page_of(p.r)].lease[p.off];
  const Rec c = rec(p.w);
  landed(s, page_of(p.r), gen_of(p.r), "a sole claim was counted on a page in another life");
  if (lease_claims(l) == (int)c.claims && lease_expired(l)) return;
  l = lease(0, 1, c.claims);
  bool held = false, lives = false;  // its owner; an ack that did not live to return may be counted
  for (int i = 0; i <= procs; i++) {
    held |= s.p[i].alive && s.p[i].held && s.p[i].tr == p.r && s.p[i].toff == p.off;
    lives |= s.p[i].alive && s.p[i].owner == c.owner;
  }
  if (lives && !held && s.acked >> c.item & 1) fail("a clear counted an item whose ack had returned");
  ended(s, p.w);
}
