// Reserve and commit one large value: a page of its own is linked while its record is still WRITING; the owner writes in place and commits, or
// abandons, later and without a pin. WRITING(me) keeps the page in its life.
#pragma once
#include "pc.h"

inline int Model::reserve_op(State& s, Proc& p, int me, int k, bool commits) {
  u32 item = first_item_[me][p.op];
  switch (p.pc) {
    case OW_LAY:
    case OW_LAY_LATE:
      s.page[page_of(p.q)].word[0] = pack({WRITING, has(kReserveAnon) ? 0u : p.owner, 0, 1, 0, item});
      s.page[page_of(p.q)].word[1] = pack({SEAL, 0, 0, 0, 0, 1});
      if (sc.touch) s.page[page_of(p.q)].owners |= 1 << (p.owner & 15);
      return go(p, p.pc == OW_LAY ? OW_TAIL : OW_TAILP, "reserve: lay WRITING for item %d", item);
    case OW_TAILP:
      NEEDS_ROOM;
      store(p, A_TAILP + k, p.q);
      p.r = p.q, p.q = 0, p.off = p.cnt = 0;
      return go(p, RS_UNPIN, "reserve: store tail page");
    case RS_UNPIN: return unpin(p, RS_WORD, "reserve: unpin, write in place");
    case RS_WORD:
      NEEDS_ROOM;
      store(p, word_at(p.r, 0), commits ? pack({READY, 0, 0, 1, 0, item}) : pack({DONE, 0, 0, 1, 0, 0}), p.r);
      p.n = 1, p.ret = RS_END;
      if ((!commits && !sc.log) || (commits ? has(kCommitNoWake) : has(kAbandonNoWake)))
        p.ret = 0, p.pc = RS_END;  // a queue's claimers step over WRITING
      else p.pc = WK_LOAD;
      say(commits ? "commit: store READY item %d" : "abandon: item %d", item);
      return RAN;
    case RS_END:
      if (commits) {
        s.returned |= 1 << item;
        identify(s, item, p.seq, k, "the id that a push returned is not the id that a reader saw");
      }
      say("commit: item %d has id %d", item, p.seq);
      finish(p);
      return RAN;
  }
  return own_page(s, p, me, k);
}
