// Rows that nobody will read again: their eraser was killed. A row is in use if it is in a gap or a valid page has its first id.
#pragma once
#include "pc.h"

// The rows are listed first, then the chain is walked: what is stored later is not looked at, and what was listed stays in its gap or its page
// until that page is unlinked for good. A walk that has to begin anew keeps what it has found in use.
inline int Model::leftovers(State& s, Proc& p, int k) {
  Stream& t = s.stream[k];
  auto list = [&] {
    p.must = 0;
    for (const Row& row : s.row)
      if (row.count) p.must |= 1 << row.first_seq;
  };
  switch (p.pc) {
    case START:
    case LO_LIST:
      if (has(kSweepListLate)) return go(p, LO_FIRST, "leftovers: the chain first");
      list();
      return p.must ? go(p, LO_FIRST, "leftovers: rows %x", p.must) : go(p, LO_ERASE, "leftovers: no rows");
    case LO_FIRST: p.r = t.first, p.n = 0; return go(p, p.r ? LO_PIN : LO_ERASE, "leftovers: first page is %d", page_of(p.r));
    case LO_PIN: return pin(p, p.r, LO_VALID, "leftovers: pin page %d");
    case LO_VALID: {
      const Page& g = s.page[page_of(p.r)];
      if (!valid(s, p.r) && !has(kSweepUnvalidated)) return go(p, LO_FIRST, "leftovers: page %d is in another life", page_of(p.r));
      if (p.n)  // the ids of the gap before this page are in use
        for (int id = p.seq; id < g.first_seq; id++) p.had |= 1 << id;
      if (!has(kSweepGapsOnly)) p.had |= 1 << g.first_seq;
      p.n = 0, p.seq = 0;
      return go(p, LO_NEXT, "leftovers: page %d begins at id %d", page_of(p.r), g.first_seq);
    }
    case LO_NEXT: {
      u16 next = s.page[page_of(p.r)].next;
      p.n = (next & kGap) != 0;
      if (p.n) p.seq = s.page[page_of(p.r)].first_seq + sealed_count(s, page_of(p.r));
      p.r = target(next);
      return go(p, p.r ? LO_PIN : LO_ERASE, "leftovers: next page is %d%s", page_of(next), p.n ? ", after a gap" : "");
    }
    case LO_ERASE: {
      NEEDS_ROOM;
      if (has(kSweepListLate)) list();
      u16 gone = p.must & ~p.had;
      for (int id = 0; id < 16; id++)
        if (gone >> id & 1) delete_row(s, id);
      store(p, A_PIN + p.pinslot, 0);
      finish(p);
      say("leftovers: rows %x are deleted", gone);
      return RAN;
    }
  }
  abort();
}
