// Push, push_many, link, wake.
#pragma once
#include "pc.h"

// ------------------------------------------------------------------------------------------------------------------ push
inline int Model::push(State& s, Proc& p, int me, int k, int n) {
  Stream& t = s.stream[k];
  Rec moved = rec(p.tw);  // of a mover
  u32 item = p.to ? moved.item : first_item_[me][p.op];
  switch (p.pc) {
    case START:
    case MV_TAIL:
      p.n = n;
      p.r = load(s, p, A_TAILP + k);
      p.fresh = sc.lanes != 0;
      return go(p, p.r ? PU_PIN : PU_FIRST, "push(%c%s): tail page is %d", 'A' + k, n > 1 ? ", batch" : "", page_of(p.r));
    case PU_FIRST:
      p.r = target(t.first);
      p.off = p.cnt = 0;
      p.fresh = sc.lanes != 0;
      if (sc.lanes && !p.r && (t.first == kTomb || (gen_of(t.first) != generation_ && !has(kFirstNoGen))))
        return look_again(p, t.first == kTomb ? "push: a tomb" : "push: of another generation");
      return go(p, p.r ? PU_PIN : sc.lanes && !has(kEmptyUnchecked) ? PU_EMPTY : LK_ALLOC, "push: first page is %d", page_of(p.r));
    case PU_EMPTY:
      if (!usable(s.desc[k / sc.lanes])) return look_again(p, "push: not of this handle");
      return go(p, LK_ALLOC, "push: the descriptor is LIVE");
    case PU_PIN: return pin(p, p.r, PU_VALID, "push: pin page %d");
    case PU_VALID: {
      bool ok = valid(s, p.r);
      if (ok && has(kRefNoGen)) p.r = ref(page_of(p.r), life_gen(s.page[page_of(p.r)].life));
      return go(p,
                !ok                              ? PU_FIRST
                : p.fresh && !has(kGenUnchecked) ? PU_DESCRIPTOR
                                                 : PU_HINT,
                "push: page %d is in %s", page_of(p.r), ok ? "the same life" : "another life");
    }
    case PU_DESCRIPTOR:
      p.fresh = 0;
      if (!of_handle(s, p, k)) return look_again(p, "push: not of this handle");
      return go(p, PU_HINT, "push: the generation is the handle's");
    case PU_HINT: {
      u32 h = load(s, p, A_TAIL + page_of(p.r));
      p.off = h & 15, p.cnt = h >> 4, p.seq = s.page[page_of(p.r)].first_seq;
      return go(p, PU_WORD, "push: tail hint is %d", p.off);
    }
    case PU_WORD: {
      if (p.off >= sc.slots) {
        fail("a walk ran off the page");
        return RAN;
      }
      u32 w = load(s, p, word_at(p.r, p.off));
      say("push: page %d[%d] is %s", page_of(p.r), p.off, kStateName[state_of(w)]);
      if (state_of(w) == FREE) p.pc = p.off + p.n > capacity() ? PU_SEAL : delayed(k) && has(kDueBeforeWriting) ? DU_PAGE : PU_RESERVE;
      else if (state_of(w) == SEAL) p.pc = PU_NEXT, p.cnt = rec(w).item;
      else p.off += size_of(w), p.cnt += ids_of(w);
      return RAN;
    }
    case PU_RESERVE: {
      NEEDS_EMPTY;
      Rec mine{WRITING, p.owner, 0, p.n, 0, item};
      if (p.to) mine.claims = moved.claims, mine.crashes = moved.crashes, mine.item = kNoPayload, mine.intent = has(kMoveIntentReserved);
      if (!cas_word(s, p.r, p.off, 0, pack(mine))) return go(p, PU_WORD, "push: lost the word");
      p.seq += p.cnt;
      if (sc.order)
        for (int i = 0; i < n; i++) s.since[item + i] = ready_now(s, k);
      if (sc.log && p.seq < t.trimmed) fail("an append has an id that is trimmed already");
      if (delayed(k) && !has(kDueAfterReady) && !has(kDueBeforeWriting))
        return go(p, has(kDueStreamFirst) ? DU_STREAM : DU_PAGE, "push: page %d[%d] FREE -> WRITING item %d", page_of(p.r), p.off, item);
      if (sc.limit && !has(kBirthLate)) return go(p, BI_BIRTH, "push: page %d[%d] FREE -> WRITING item %d", page_of(p.r), p.off, item);
      if (p.to)
        return go(p,
                  has(kMovePublishFirst)  ? PU_PUBLISH
                  : has(kMoveCommitFirst) ? MV_COMMIT
                                          : MV_SOURCE,
                  "move: page %d[%d] FREE -> WRITING for item %d", page_of(p.r), p.off, item);
      return go(p, n > 1 && !has(kFirstHeaderFirst) ? PU_INNER : PU_PUBLISH, "push: page %d[%d] FREE -> WRITING item %d", page_of(p.r), p.off, item);
    }
    case PU_SEAL:
      NEEDS_EMPTY;
      cas_word(s, p.r, p.off, 0, pack({SEAL, 0, 0, 0, 0, p.cnt}));
      return go(p, PU_WORD, "push: seal page %d[%d] after %d ids", page_of(p.r), p.off, p.cnt);
    case PU_NEXT: {
      u16 next = s.page[page_of(p.r)].next;
      if (next == kTomb && sc.lanes) return look_again(p, "push: a tomb");
      if (next == kTomb && p.to) return go(p, PU_FULL, "move: the stream is gone");
      if (next == kTomb) {
        u8 op_n = p.n;
        reset(p, START);
        p.n = op_n, p.tgt = 1;
        say("push: the stream is gone");
        return RAN;
      }
      if (!next) return go(p, has(kLinkUndo) ? LU_ENTER : LK_ALLOC, "push: page %d has no next", page_of(p.r));
      p.r = target(next), p.cnt = p.off = p.fresh = 0;
      return go(p, PU_PIN, "push: next page is %d", page_of(next));
    }
    case PU_INNER:
      NEEDS_ROOM;
      store(p, word_at(p.r, p.off + 1), pack({READY, 0, 0, 1, 0, item + 1}), p.r);
      return go(p, has(kFirstHeaderFirst) ? PU_STORE_HINT : PU_PUBLISH, "push: lay inner header [%d]", p.off + 1);
    case PU_PUBLISH:
      if (p.to && !has(kMovePublishStored) && !has(kMoveCopyLate) && !has(kMovePublishFirst)) {  // another may have done it
        NEEDS_EMPTY;
        bool ok = cas_word(s, p.r, p.off, pack({WRITING, p.owner, moved.claims, 1, moved.crashes, item, 1}),
                           pack({READY, 0, moved.claims, 1, moved.crashes, item}));
        return go(p, PU_STORE_HINT, ok ? "move: item %d READY" : "move: another made item %d READY", item);
      }
      NEEDS_ROOM;
      store(p, word_at(p.r, p.off), pack({READY, 0, p.to ? moved.claims : 0, 1, p.to ? moved.crashes : 0, item}), p.r);
      if (p.to && has(kMovePublishFirst)) return go(p, MV_COMMIT, "move: store READY item %d", item);
      return go(p,
                n > 1 && has(kFirstHeaderFirst)     ? PU_INNER
                : delayed(k) && has(kDueAfterReady) ? DU_PAGE
                : sc.limit && has(kBirthLate)       ? BI_BIRTH
                                                    : PU_STORE_HINT,
                "push: store READY item %d", item);
    case PU_STORE_HINT:
      NEEDS_ROOM;
      store(p, A_TAIL + page_of(p.r), (p.cnt + n) << 4 | (p.off + n), p.r);
      p.ret = PU_UNPIN;
      if (delayed(k) && ((!p.lowered && !has(kDueWakeAlways)) || has(kDueNoWake)))
        return p.ret = 0, go(p, PU_UNPIN, "push: store tail hint %d", p.off + n);
      return go(p, WK_LOAD, "push: store tail hint %d", p.off + n);
    case PU_UNPIN:
      NEEDS_ROOM;
      store(p, A_PIN + p.pinslot, 0);
      if (p.to) return go(p, MV_UNHOLD, "move: unpin; item %d has id %d", item, p.seq);
      for (int i = 0; i < n; i++) {
        s.returned |= 1 << (item + i);
        identify(s, item + i, p.seq + i, k, "the id that a push returned is not the id that a reader saw");
      }
      say("push: unpin; item %d has id %d", item, p.seq);
      finish(p);
      return RAN;
    case PU_FULL:
      NEEDS_ROOM;
      store(p, A_PIN + p.pinslot, 0);
      if (p.to) reset(p, NK_PIN);  // give it back
      else finish(p);
      say("push: full");
      return RAN;

    case DU_PAGE:
    case DU_PAGE_CAS:
    case DU_STREAM:
    case DU_STREAM_CAS: return lower_due(s, p, k, item);
    case BI_BIRTH: return birth(s, p);

    // Link: one compare-exchange on next publishes the page. BUILDING names the builder, prev says where the page is meant to go.
    case LK_ALLOC:
      NEEDS_EMPTY;
      if (sc.allocator) {
        p.ret = LK_INIT;
        return allocate(s, p, me);
      }
      for (int q = 0; q < sc.pages; q++) {
        u16& l = s.page[q].life;
        if (life_state(l) != PFREE) continue;
        l = life(life_gen(l) + 1, BUILDING, has(kAnonAlloc) ? 0 : p.owner);
        p.q = ref(q, life_gen(l));
        return go(p, LK_INIT, "link: allocate page %d, BUILDING", q);
      }
      return go(p, PU_FULL, "link: no page");
    case LK_INIT: {
      Page& g = s.page[page_of(p.q)];
      g.stream = k, g.prev = p.r ? p.r : kHeadOf | k,
      g.first_seq = p.r        ? s.page[page_of(p.r)].first_seq + p.cnt
                    : sc.lanes ? s.base[k / sc.lanes] + 1
                               : 1;
      if (has(kLinkedBeforeNext)) g.life = life(gen_of(p.q), LINKED, 0);
      return go(p, LK_NEXT, "link: page %d begins at id %d", page_of(p.q), g.first_seq);
    }
    case LK_NEXT: {
      NEEDS_EMPTY;
      u16& next = p.r ? s.page[page_of(p.r)].next : t.first;
      bool empty = next == 0 || (!p.r && sc.lanes && (gen_of(next) == generation_ || has(kFirstNoGen)) && !(next & 127));
      if (has(kShrinkStored) && n == 0) {  // load, then store
        if (p.ret) empty = true;
        else if (empty) p.ret = 1;
        if (p.ret == 1) {
          p.ret = 2;
          say("link: next is 0");
          return RAN;
        }
        p.ret = 0;
      }
      if (!empty) return go(p, LK_GIVE_BACK, "link: lost");
      if (p.r) landed(s, page_of(p.r), gen_of(p.r), "next was set on a page in another life");
      next = p.q;
      return go(p, LK_LINKED, "link: page %d follows page %d", page_of(p.q), page_of(p.r));
    }
    case LK_LINKED: {
      NEEDS_EMPTY;
      u16& l = s.page[page_of(p.q)].life;
      if (life_gen(l) == gen_of(p.q) && life_state(l) == BUILDING) l = life(gen_of(p.q), LINKED, 0);
      return go(p, LK_TAILP, "link: page %d LINKED", page_of(p.q));
    }
    case LK_TAILP:
      NEEDS_ROOM;
      store(p, A_TAILP + k, p.q);
      p.r = p.q;
      p.q = 0;
      p.off = p.cnt = p.fresh = 0;
      return go(p, PU_PIN, "link: store tail page %d", page_of(p.r));
    case LK_GIVE_BACK: {
      if (sc.allocator) return give_back(s, p, me);
      Page clean{};
      clean.life = life(gen_of(p.q), PFREE, 0);
      s.page[page_of(p.q)] = clean, p.q = 0;
      return go(p, p.r ? PU_NEXT : PU_FIRST, "link: give the page back");
    }
    // Link as written: in the section, every word through the undo journal.
    case LU_ENTER: NEEDS_SECTION(t); return go(p, LU_ALLOC, "section: entered");
    case LU_ALLOC:
      if (s.page[page_of(p.r)].next) return go(p, LU_LEAVE, "section: already linked");
      for (int q = 0; q < sc.pages; q++) {
        Page& g = s.page[q];
        if (life_state(g.life) != PFREE) continue;
        journal(s, t, A_LIFE + q, life(life_gen(g.life) + 1, LINKED, 0));
        g.stream = k, g.first_seq = s.page[page_of(p.r)].first_seq + p.cnt, p.q = ref(q, life_gen(g.life));
        return go(p, LU_NEXT, "section: allocate page %d", q);
      }
      p.ret = 1;
      return go(p, LU_LEAVE, "section: no page");
    case LU_NEXT: journal(s, t, A_NEXT + page_of(p.r), p.q); return go(p, LU_TAILP, "section: page %d follows page %d", page_of(p.q), page_of(p.r));
    case LU_TAILP: journal(s, t, A_TAILP + k, p.q); return go(p, LU_COMMIT, "section: tail page is %d", page_of(p.q));
    case LU_COMMIT: commit(t); return go(p, LU_LEAVE, "section: commit");
    case LU_LEAVE:
      t.mutex = 0;
      p.q = 0;
      n = p.ret;
      p.ret = 0;
      return go(p, n ? PU_FULL : PU_NEXT, "section: left");
  }
  abort();
}

// Every operation that made something READY comes here. One record wakes one waiter, several wake everybody. A ring keeps the flag; who
// woke fewer than he asked for clears it, from exactly the value that he stored: then no waiter has raised it since.
inline int Model::wake(State& s, Proc& p, int k) {
  Stream& t = bell_of(s, k);
  bool old = has(kWakeAll) || has(kWakeOneClears);
  bool one =
      (p.ret == PU_UNPIN && p.n == 1) || p.ret == NK_UNPIN || p.ret == EX_UNPIN || has(kWakeOneClears) || (p.ret == OW_UNPIN && has(kOwnWakeOne));
  if ((sc.log && !has(kLogWakeOne)) || (p.lowered && !has(kDueWakeOne)) || (has(kDueWakeAlways) && p.ret == PU_UNPIN && !p.to)) one = false;
  bool all = !one || has(kWakeAll) || has(kWakeAllSticky);
  switch (p.pc) {
    case WK_LOAD: p.armed = t.bell; return go(p, t.bell & kAsleep ? (u16)WK_RING : p.ret, "wake: waiters flag is %d", t.bell & kAsleep);
    case WK_RING:
      NEEDS_EMPTY;
      if (t.bell != p.armed) return go(p, WK_LOAD, "wake: the bell moved");
      p.armed = t.bell = (t.bell + kRing) & ~(old ? kRaised | kAsleep : kRaised);
      return go(p, WK_WAKE, "wake: ring %d", t.bell);
    case WK_WAKE: {
      int woken = 0, c = pick;
      for (int i = 0; i < procs; i++)
        if (t.sleepers >> i & 1) {
          if (!all && woken) more = true;
          else if (all || c-- == 0) {
            t.sleepers &= ~(1 << i);
            woken++;
            say("wake: P%d", i);
          }
        }
      if (!woken) say("wake: nobody");
      if ((all || !woken) && !old && !has(kWakeOneSticky)) p.pc = WK_CLEAR;
      else p.armed = 0, p.pc = p.ret, p.ret = 0;
      return RAN;
    }
    case WK_CLEAR:
      NEEDS_EMPTY;
      say("wake: %s", t.bell == p.armed ? "clear the flag" : "the bell moved");
      if (t.bell == p.armed) t.bell &= ~kAsleep;
      p.armed = 0, p.pc = p.ret, p.ret = 0;
      return RAN;
  }
  abort();
}
