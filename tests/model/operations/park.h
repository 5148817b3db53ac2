// Park: an idle stream leaves the segment; its name keeps {next id}. Unpark: whoever looks the name up makes a stream of it again.
#pragma once
#include "pc.h"

inline bool Model::tombed_chain(const State& s, int k) const {  // once it is, it stays so
  u16 r = target(s.stream[k].first), next = s.stream[k].first;
  for (; r; r = target(next)) next = s.page[page_of(r)].next;
  return next == kTomb;
}
// The record's items are in rows now, or were cleared.
inline void Model::leave_memory(State& s, u16 r, int off, u32 w, int k) {
  if (!cas_word(s, r, off, w, pack({DONE, 0, 0, size_of(w), 0, 0}))) return;
  int id = s.page[page_of(r)].first_seq + off;  // pages here have no spans
  bool cleared = life_state(s.desc[k / sc.lanes]) == DCLEARING || s.cleared_upto[0] >= id;
  if (cleared) ended(s, w);
}
inline int Model::park(State& s, Proc& p, int me, int name, int k) {
  Stream& t = s.stream[k];
  Section& names = s.directory;
  u16 h = p.handle[name];
  auto mine = [&](int g) { return s.page[g].stream == k && life_state(s.page[g].life) == PSPILLING && life_owner(s.page[g].life) == p.owner; };
  switch (p.pc) {
    case START:
    case PK_FIRST:
      p.r = target(t.first), p.base = t.refills;
      return go(p, p.r ? PK_PIN : PK_END, "park: first page is %d, gap version %d", page_of(p.r), p.base);
    case PK_PIN: return pin(p, p.r, PK_VALID, "park: pin page %d");
    case PK_VALID: {
      bool ok = valid(s, p.r);
      for (int id = p.seq; ok && p.seq && id < s.page[page_of(p.r)].first_seq; id++) p.must |= 1 << id;  // in a gap
      p.seq = 0;
      return go(p, ok ? PK_DESCRIPTOR : PK_BACK, "park: page %d is in %s", page_of(p.r), ok ? "the same life" : "another life");
    }
    case PK_DESCRIPTOR: {
      bool ok = usable(s.desc[k / sc.lanes]);
      return go(p, ok ? PK_MARK : PK_BACK, "park: the stream is %sLIVE", ok ? "" : "not ");
    }
    case PK_MARK: {
      NEEDS_EMPTY;
      bool ok = cas_life(s, p.r, LINKED, 0, PSPILLING, p.owner);
      return go(p, ok ? PK_SEAL : PK_BACK, ok ? "park: page %d marked" : "park: another works on page %d", page_of(p.r));
    }
    case PK_SEAL: {  // one compare-exchange; the words before it keep their ids
      NEEDS_EMPTY;
      int off = 0, ids = 0;
      u32 w;
      for (; w = s.page[page_of(p.r)].word[off], state_of(w) != FREE && state_of(w) != SEAL; off += size_of(w)) ids += ids_of(w);
      if (state_of(w) == FREE) cas_word(s, p.r, off, 0, pack({SEAL, 0, 0, 0, 0, (u32)ids}));
      p.last = s.page[page_of(p.r)].first_seq + sealed_count(s, page_of(p.r));
      return go(p, PK_NEXT, "park: page %d is sealed", page_of(p.r));
    }
    case PK_NEXT: {
      u16 next = s.page[page_of(p.r)].next;
      if (target(next)) {
        p.r = target(next), p.seq = next & kGap ? p.last : 0;
        return go(p, PK_PIN, "park: next page is %d", page_of(next));
      }
      p.i = 0;
      return go(p, next ? PK_BACK : PK_COMMIT, "park: the last page");
    }
    case PK_COMMIT: {  // copy, then one transaction: every page that is not all DONE, and no other row that is not in a gap
      NEEDS_EMPTY;
      bool quiet = true;
      for (int g = 0; g < sc.pages; g++)
        for (u32 w : s.page[g].word)
          if (mine(g) && state_of(w) != FREE && state_of(w) != READY && state_of(w) != DONE && state_of(w) != SEAL) quiet = false;
      if (!quiet) return go(p, PK_BACK, "park: busy records");
      for (Row& row : s.row) {
        bool here = p.must >> row.first_seq & 1;
        for (int g = 0; g < sc.pages; g++) here = here || (mine(g) && s.page[g].first_seq == row.first_seq && !all_done(s, g));
        if (row.count && !here && !has(kParkLeavesRows)) delete_row(s, row.first_seq);
      }
      for (int g = 0; g < sc.pages; g++) {
        if (!mine(g) || all_done(s, g)) continue;
        Row* row = find_row(s, s.page[g].first_seq);
        for (Row& r : s.row)
          if (!row && !r.count) row = &r;
        if (!row) abort();
        row->first_seq = s.page[g].first_seq, row->count = sealed_count(s, g), s.page[g].has_row = 1;
        memcpy(row->word, s.page[g].word, sizeof row->word);
      }
      p.must = 0;
      return go(p, has(kParkNotTaken) ? PK_ENTER : PK_TAKE, "park: rows committed");
    }
    case PK_TAKE: {
      NEEDS_EMPTY;
      for (int g = 0; g < sc.pages; g++) {
        Row* row = mine(g) ? find_row(s, s.page[g].first_seq) : nullptr;
        for (int off = 0; row && state_of(row->word[off]) != SEAL; off += size_of(row->word[off])) {
          u32 w = row->word[off];
          Rec r = rec(w);
          r.state = SPILLING, r.owner = p.owner;
          if (state_of(w) != READY || s.page[g].word[off] == pack(r)) continue;
          bool ok = cas_word(s, ref(g, life_gen(s.page[g].life)), off, w, pack(r));
          return go(p, ok ? PK_TAKE : PK_BACK, ok ? "park: item %d SPILLING" : "park: item %d changed", r.item);
        }
      }
      return go(p, PK_ENTER, "park: all taken");
    }
    case PK_ENTER: NEEDS_SECTION(t); return go(p, PK_CHECK, "park: section");
    case PK_CHECK: {  // nobody has refilled meanwhile
      bool ok = t.refills == p.base || has(kParkNoVersion);
      return go(p, ok ? PK_TOMB : PK_LEAVE, ok ? "park: all is as it was" : "park: refilled meanwhile");
    }
    case PK_TOMB: {
      NEEDS_EMPTY;
      u16& next = s.page[page_of(p.r)].next;
      bool ok = !next;
      landed(s, page_of(p.r), gen_of(p.r), "next was set on a page in another life");
      if (ok) next = kTomb;
      p.n = ok;
      return go(p, PK_LEAVE, ok ? "park: tomb" : "park: somebody linked a page");
    }
    case PK_LEAVE: t.mutex = 0; return go(p, !p.n ? PK_BACK : has(kParkDoneFirst) ? PK_DONE : PK_NAMES, "park: leave");
    case PK_NAMES: NEEDS_SECTION(names); return go(p, PK_READ, "park: directory");
    case PK_READ: {
      bool ok = s.entry[name] == h && s.desc[k / sc.lanes] == life(gen_of(h), DLIVE, 0);
      return go(p, ok ? PK_ENTRY : PK_NAMED, ok ? "park: still named" : "park: not named any more");
    }
    case PK_ENTRY: journal(s, names, A_ENTRY + name, kParked | p.last << 8); return go(p, PK_STATE, "park: the name has next id %d", p.last);
    case PK_STATE:
      journal(s, names, A_DESC + k / sc.lanes, life(gen_of(h), DTOMBED, 0));
      return go(p, PK_SETTLED, "park: descriptor %d TOMBED", k / sc.lanes);
    case PK_SETTLED: commit(names); return go(p, PK_NAMED, "park: commit");
    case PK_NAMED:
      names.mutex = 0;
      if (!p.n) {  // helped
        reset(p, START);
        p.handle[name] = 0;
        say("park: helped");
        return RAN;
      }
      return go(p, has(kParkDoneFirst) ? PK_UNMARK : PK_DONE, "park: leave");
    case PK_DONE:
    case PK_BACK: {
      NEEDS_EMPTY;
      for (int g = 0; g < sc.pages; g++)
        for (int off = 0; off < sc.slots && mine(g); off++) {
          u32 w = s.page[g].word[off];
          Rec r = rec(w);
          if (r.state != SPILLING || r.owner != p.owner) continue;
          u16 at = ref(g, life_gen(s.page[g].life));
          if (p.pc == PK_DONE) leave_memory(s, at, off, w, k);
          else r.state = READY, r.owner = 0, cas_word(s, at, off, w, pack(r));
          say("park: item %d %s", r.item, p.pc == PK_DONE ? "is only in its row" : "READY again");
          return RAN;
        }
      p.r = 0, p.must = 0, p.seq = 0;
      return go(p, p.pc == PK_DONE && has(kParkDoneFirst) ? PK_NAMES : PK_UNMARK, "park: %s", p.pc == PK_DONE ? "memory is empty" : "given back");
    }
    case PK_UNMARK:
      NEEDS_EMPTY;
      for (int g = 0; g < sc.pages; g++) {
        if (!mine(g)) continue;
        cas_life(s, ref(g, life_gen(s.page[g].life)), PSPILLING, p.owner, LINKED, 0);
        say("park: page %d unmarked", g);
        return RAN;
      }
      p.n = p.i = 0, p.ret = PK_END;
      return go(p, waits_ ? WK_LOAD : PK_END, "park: all unmarked");
    case PK_END:
      NEEDS_ROOM;
      p.handle[name] = 0;
      return unpin_and_finish(p, "park: end");

    // Who meets a tomb while the descriptor is LIVE: a park is past its commit, and must be finished.
    case PH_FIRST:
      p.r = target(t.first);
      if (!p.r) {
        reset(p, START), p.handle[name] = 0;
        return RAN;
      }
      return go(p, PH_PIN, "finish the park: first page is %d", page_of(p.r));
    case PH_PIN: return pin(p, p.r, PH_VALID, "finish the park: pin page %d");
    case PH_VALID: {
      bool ok = valid(s, p.r);
      return go(p, ok ? PH_NEXT : PH_FIRST, "finish the park: page %d is in %s", page_of(p.r), ok ? "the same life" : "another life");
    }
    case PH_NEXT: {
      u16 next = s.page[page_of(p.r)].next;
      p.last = s.page[page_of(p.r)].first_seq + std::max(sealed_count(s, page_of(p.r)), 0);
      if (target(next)) {
        p.r = target(next);
        return go(p, PH_PIN, "finish the park: next page is %d", page_of(next));
      }
      if (next == kTomb) return go(p, PK_NAMES, "finish the park: the tomb, next id %d", p.last);
      reset(p, START), p.handle[name] = 0;
      say("finish the park: no tomb");
      return RAN;
    }
  }
  abort();
}

// Anybody's look at all descriptors: what was parked leaves memory, whoever took it.
inline int Model::sweep_parked(State& s, Proc& p, int me, int k) {
  Section& names = s.directory;
  u16& desc = s.desc[k / sc.lanes];
  auto over = [&](const char* text) {
    finish(p);
    say("%s", text);
    return RAN;
  };
  if ((p.pc == PS_DONE || p.pc == PS_UNMARK) && desc != p.had) return over("sweep: another life");
  switch (p.pc) {
    case START:
      if (life_state(desc) != DTOMBED) return over("sweep: nothing is parked");
      p.had = desc;
      return go(p, has(kParkSweepUnsettled) ? PS_DONE : PS_ENTER, "sweep: descriptor %d is parked", k / sc.lanes);
    case PS_ENTER: NEEDS_SECTION(names); return go(p, PS_READ, "sweep: directory");
    case PS_READ: {  // what a dying process's journal takes back is not parked
      bool ok = desc == p.had;
      names.mutex = 0;
      return ok ? go(p, PS_DONE, "sweep: it is, for good") : over("sweep: it is not, any more");
    }
    case PS_DONE:
      NEEDS_EMPTY;
      for (int g = 0; g < sc.pages; g++)
        for (int off = 0; off < sc.slots && s.page[g].stream == k && life_state(s.page[g].life) == PSPILLING; off++) {
          u32 w = s.page[g].word[off];
          if (state_of(w) != SPILLING) continue;
          leave_memory(s, ref(g, life_gen(s.page[g].life)), off, w, k);
          say("sweep: item %d is only in its row", rec(w).item);
          return RAN;
        }
      return go(p, PS_UNMARK, "sweep: memory is empty");
    case PS_UNMARK:
      NEEDS_EMPTY;
      for (int g = 0; g < sc.pages; g++) {
        u16 l = s.page[g].life;
        if (s.page[g].stream != k || life_state(l) != PSPILLING) continue;
        cas_life(s, ref(g, life_gen(l)), PSPILLING, life_owner(l), LINKED, 0);
        say("sweep: page %d unmarked", g);
        return RAN;
      }
      return over("sweep: end");
  }
  abort();
}

// The name has only {next id}: an empty page, a gap, a tail. Nothing names them before the directory does.
inline int Model::unpark(State& s, Proc& p, int me, int name, char o) {
  Section& names = s.directory;
  auto built = [&](u16 prev, int first_seq) {
    for (int g = 0; g < sc.pages; g++) {
      u16& l = s.page[g].life;
      if (life_state(l) != PFREE) continue;
      l = life(life_gen(l) + 1, BUILDING, p.owner);
      s.page[g].prev = prev, s.page[g].first_seq = first_seq, s.page[g].stream = p.tgt * sc.lanes;
      return ref(g, life_gen(l));
    }
    return (u16)0;
  };
  switch (p.pc) {
    case UP_ANCHOR: {
      NEEDS_EMPTY;
      p.r = built(kHeadOf | p.tgt * sc.lanes, s.cleared_upto[name] + 1);  // below it, rows of this name are another stream's
      if (p.r) s.page[page_of(p.r)].word[0] = pack({SEAL, 0, 0, 0, 0, 0});
      return go(p, p.r ? UP_TAIL : UP_END, "unpark: page %d BUILDING, empty and sealed", page_of(p.r));
    }
    case UP_TAIL:
      NEEDS_EMPTY;
      p.q = built(p.r, p.had >> 8);
      if (p.q && has(kUnparkNamedEarly)) s.page[page_of(p.r)].next = p.q | kGap;
      return go(p, p.q ? UP_ENTER : UP_GIVE_BACK, "unpark: page %d BUILDING, from id %d", page_of(p.q), p.had >> 8);
    case UP_ENTER: NEEDS_SECTION(names); return go(p, UP_READ, "unpark: directory");
    case UP_READ: {
      bool ok = s.entry[name] == p.had && life_state(s.desc[p.tgt]) == DFREE;
      p.n = ok;
      return go(p, !ok ? UP_LEAVE : has(kUnparkLivesLate) ? UP_NEXT : UP_LIVES, ok ? "unpark: still parked" : "unpark: another was faster");
    }
    case UP_LIVES:  // a refill may be done before they are LINKED: prev's next is no evidence
    case UP_LIVES_TAIL: {
      u16 r = p.pc == UP_LIVES ? p.r : p.q;
      journal(s, names, A_LIFE + page_of(r), life(gen_of(r), LINKED, 0));
      return go(p, p.pc == UP_LIVES ? UP_LIVES_TAIL : UP_NEXT, "unpark: page %d LINKED", page_of(r));
    }
    case UP_NEXT: {
      bool empty = s.page[page_of(p.r)].first_seq == s.page[page_of(p.q)].first_seq;
      s.stream[p.tgt * sc.lanes].dense = has(kUnparkDense) ? 0 : p.had >> 8, s.base[p.tgt] = (p.had >> 8) - 1;
      if (!has(kUnparkNamedEarly)) journal(s, names, A_NEXT + page_of(p.r), p.q | (empty ? 0 : kGap));
      return go(p, UP_FIRST, "unpark: page %d, a gap, page %d", page_of(p.r), page_of(p.q));
    }
    case UP_FIRST: journal(s, names, A_FIRST + p.tgt * sc.lanes, p.r); return go(p, UP_STATE, "unpark: first");
    case UP_STATE:
      journal(s, names, A_DESC + p.tgt, life(life_gen(s.desc[p.tgt]), DLIVE, 0));
      return go(p, UP_ENTRY, "unpark: descriptor %d LIVE", p.tgt);
    case UP_ENTRY: journal(s, names, A_ENTRY + name, handle(p.tgt, life_gen(s.desc[p.tgt]))); return go(p, UP_COMMIT, "unpark: name it");
    case UP_COMMIT: commit(names), p.handle[name] = s.entry[name]; return go(p, UP_LEAVE, "unpark: commit");
    case UP_LEAVE:
      names.mutex = 0;
      if (p.n && !has(kUnparkLivesLate)) return reset(p, START), RAN;
      return go(p, p.n ? UP_LINKED : UP_GIVE_BACK, "unpark: leave");
    case UP_LINKED:
      NEEDS_EMPTY;
      cas_life(s, p.r, BUILDING, p.owner, LINKED, 0);
      return go(p, UP_TAIL_LINKED, "unpark: page %d LINKED", page_of(p.r));
    case UP_TAIL_LINKED:
      NEEDS_EMPTY;
      cas_life(s, p.q, BUILDING, p.owner, LINKED, 0);
      reset(p, START);
      say("unpark: the tail LINKED");
      return RAN;
    case UP_GIVE_BACK: {
      NEEDS_EMPTY;
      u16& r = p.q ? p.q : p.r;
      if (r) cas_life(s, r, BUILDING, p.owner, RETIRED, 0);
      say("unpark: page %d given back", page_of(r));
      r = 0;
      if (p.r) return RAN;
      bool full = !p.n && s.entry[name] == p.had;
      if (full) finish(p);
      else reset(p, DI_ENTER);
      return RAN;
    }
    case UP_END: finish(p); return RAN;

    // Clear of a parked name: CLEAR, then absent, then the rows.
    case CP_FLAG:  // nobody goes back from here
      NEEDS_SECTION(names);
      if (s.entry[name] == p.had) s.entry[name] = p.had = p.had | kEnding;
      return go(p, CP_FLAGGED, "clear: parked, and ending");
    case CP_FLAGGED:
      names.mutex = 0;
      if (p.had & kEnding) return go(p, CP_JOURNAL, "clear: leave");
      reset(p, DI_ENTER);
      say("clear: leave");
      return RAN;
    case CP_JOURNAL:
      s.cleared_upto[name] = std::max<u8>(s.cleared_upto[name], (p.had >> 8) - 1);
      return go(p, CP_ENTER, "clear: CLEAR up to id %d in the journal", s.cleared_upto[name]);
    case CP_ENTER:
      NEEDS_SECTION(names);
      if (s.entry[name] != p.had) {
        names.mutex = 0;
        reset(p, DI_ENTER);
        say("clear: another has ended it");
        return RAN;
      }
      s.floor[name] = std::max<u16>(s.floor[name], (p.had >> 8) - 1);
      return go(p, CP_ENTRY, "clear: directory, new ids are above %d", s.floor[name]);
    case CP_ENTRY: journal(s, names, A_ENTRY + name, 0); return go(p, CP_COMMIT, "clear: the name is absent");
    case CP_COMMIT: commit(names), names.mutex = 0; return go(p, CP_ROWS, "clear: commit, leave");
    case CP_ROWS:
      erase_cleared(s);
      reset(p, o == '!' ? CR_END : DI_ENTER);
      say("clear: rows are deleted");
      return RAN;
  }
  abort();
}
