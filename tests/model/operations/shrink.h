// A tail that is all DONE and larger than the smallest page is sealed, and a small page linked behind it as a pusher would: so it can be
// unlinked. (Sizes are not modelled: every page counts as large, and a script shrinks as often as it says.)
#pragma once
#include "pc.h"

inline int Model::shrink(State& s, Proc& p, int me, int k) {
  auto back_from_push = [&] {  // it links pages for us, and would go on to push
    if (p.pc == PU_NEXT || p.pc == PU_FIRST || p.pc == PU_PIN || p.pc == PU_FULL) p.pc = SH_UNPIN;
  };
  back_from_push();
  if (p.pc >= LK_ALLOC && p.pc <= LK_GIVE_BACK) {
    int r = push(s, p, me, k, 0);
    back_from_push();
    return r;
  }
  switch (p.pc) {
    case START:
      p.r = target(s.stream[k].first), p.fresh = sc.lanes != 0;
      return go(p, p.r ? SH_PIN : SH_UNPIN, "shrink: first page is %d", page_of(p.r));
    case SH_PIN:
      NEEDS_ROOM;
      p.off = p.cnt = 0;
      return pin(p, p.r, SH_VALID, "shrink: pin page %d");
    case SH_VALID: {
      bool ok = valid(s, p.r);
      return go(p,
                !ok       ? (int)START
                : p.fresh ? SH_DESCRIPTOR
                          : SH_WORD,
                "shrink: page %d is in %s", page_of(p.r), ok ? "the same life" : "another life");
    }
    case SH_DESCRIPTOR:
      p.fresh = 0;
      return go(p, of_handle(s, p, k) ? SH_WORD : SH_UNPIN, "shrink: the generation is %d", life_gen(s.desc[k / sc.lanes]));
    case SH_WORD: {
      u32 w = load(s, p, word_at(p.r, p.off));
      say("shrink: page %d[%d] is %s", page_of(p.r), p.off, kStateName[state_of(w)]);
      if (state_of(w) == DONE) p.off += size_of(w), p.cnt += ids_of(w);
      else p.pc = state_of(w) == FREE && p.off ? SH_SEAL : state_of(w) == SEAL ? SH_NEXT : SH_UNPIN;
      return RAN;
    }
    case SH_SEAL: {
      NEEDS_EMPTY;
      u32 w = pack({SEAL, 0, 0, 0, 0, p.cnt});
      bool ok = has(kShrinkSealStored) || cas_word(s, p.r, p.off, 0, w);
      if (ok) s.page[page_of(p.r)].word[p.off] = w;
      return go(p, !ok || has(kShrinkUnlinksTail) ? SH_UNPIN : LK_ALLOC, ok ? "shrink: sealed after %d ids" : "shrink: somebody pushed", p.cnt);
    }
    case SH_NEXT: {
      u16 next = target(s.page[page_of(p.r)].next);
      if (next) p.r = next;
      p.fresh = 0;
      return go(p, next ? SH_PIN : SH_UNPIN, "shrink: next page is %d", page_of(next));
    }
    case SH_UNPIN: return unpin_and_finish(p, "shrink: end");
  }
  abort();
}
