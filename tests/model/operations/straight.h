// The straight pop: the record at the head hint of the cursor's page, READY -> DONE in one step. Whatever is unusual is left to the general claim.
#pragma once
#include "pc.h"

inline int Model::straight_pop(State& s, Proc& p, int k) {
  Stream& t = s.stream[k];
  auto general = [&](const char* why) {
    reset(p, sc.cursors && !k ? CL_STREAM : CL_FIRST);
    begin_order(s, p);
    say("pop: %s", why);
    return RAN;
  };
  auto copied = [&] {
    landed(s, page_of(p.r), gen_of(p.r), "a payload was copied that belongs to another life");
    p.cnt = rec(s.page[page_of(p.r)].word[p.off]).item;
  };
  switch (p.pc) {
    case START: begin_order(s, p); [[fallthrough]];
    case ST_STREAM:  // with a directory the model has no cursors: `first` then
      p.r = sc.cursors && (t.epoch == p.cursor_epoch || has(kStraightNoEpoch)) ? p.cursor : sc.lanes ? target(t.first) : 0;
      if (!p.r) return general("no cursor");
      return go(p, ST_PIN, "pop: stream epoch is %d, page %d", t.epoch, page_of(p.r));
    case ST_PIN: return pin(p, p.r, ST_LIFE, "pop: pin page %d");
    case ST_LIFE:
      if (s.page[page_of(p.r)].life != life(gen_of(p.r), LINKED, 0) && !has(kStraightUnchecked))
        return general("the page is not LINKED in this life");
      return go(p, sc.lanes ? ST_DESCRIPTOR : ST_EPOCH, "pop: page %d is LINKED in the same life", page_of(p.r));
    case ST_DESCRIPTOR: return of_handle(s, p, k) ? go(p, ST_EPOCH, "pop: the generation is the handle's") : general("not of this handle");
    case ST_EPOCH: p.epoch = s.page[page_of(p.r)].epoch; return go(p, ST_HINT, "pop: epoch is %d", p.epoch);
    case ST_HINT: {
      u32 h = load(s, p, A_HEAD + page_of(p.r));
      if (h >> 4 != p.epoch && !has(kStraightOldHint)) return general("the hint is old");
      p.off = h & 15;
      return go(p, ST_WORD, "pop: the head hint is [%d]", p.off);
    }
    case ST_WORD: {
      u32 w = load(s, p, word_at(p.r, p.off));
      if (state_of(w) != READY) return general("not READY");
      p.w = w;
      return go(p, has(kStraightCopyLate) || has(kStraightCopyUnpinned) ? ST_CAS : ST_COPY, "pop: page %d[%d] is READY", page_of(p.r), p.off);
    }
    case ST_COPY: copied(); return go(p, ST_CAS, "pop: copied");
    case ST_CAS: {
      NEEDS_EMPTY;
      int item = rec(p.w).item;
      Rec done{DONE, 0, 0, size_of(p.w), 0, 0};
      if (has(kStraightNamed)) done.owner = p.owner, done.claims = rec(p.w).claims;
      if (!cas_word(s, p.r, p.off, p.w, pack(done))) return general("lost the record");
      claimed(s, p, p.w, k);
      s.acked |= 1 << item;
      return go(p, sc.lanes ? ST_CONFIRM : has(kStraightCopyLate) ? ST_COPY_LATE : ST_STORE_HINT, "pop: item %d DONE", item);
    }
    case ST_CONFIRM: {  // of a cleared stream? Then it is gone with the rest
      int item = rec(p.w).item;
      if (!usable(s.desc[k / sc.lanes]) && !has(kStraightUnconfirmed)) {
        s.acked &= ~(1 << item);
        ended(s, p.w);
        return general("the stream has been cleared");
      }
      if (s.cleared >> item & 1) fail("an item was delivered after a clear that began after its push had returned");
      return go(p, ST_STORE_HINT, "pop: the stream is LIVE");
    }
    case ST_COPY_LATE: copied(); return go(p, ST_STORE_HINT, "pop: copied after DONE");
    case ST_STORE_HINT:
      NEEDS_ROOM;
      store(p, A_HEAD + page_of(p.r), p.epoch << 4 | (p.off + size_of(p.w)), p.r);
      return go(p, ST_UNPIN, "pop: store head hint %d", p.off + size_of(p.w));
    case ST_UNPIN:
      NEEDS_ROOM;
      store(p, A_PIN + p.pinslot, 0);
      say("pop: unpin");
      if (has(kStraightCopyUnpinned)) return p.pc = ST_COPY_UNPINNED, RAN;
      if (p.cnt != rec(p.w).item) fail("another payload was copied");
      finish(p), forget_cursor(s, p, p.op);
      return RAN;
    case ST_COPY_UNPINNED:
      copied();
      finish(p), forget_cursor(s, p, p.op);
      return RAN;
  }
  return claim_op(s, p, k, 'c');
}
