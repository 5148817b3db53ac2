// Names, descriptors, clear. The directory maps a name to {descriptor, generation}; it changes in its section only. Nobody pins a
// descriptor: whoever comes to its pages by `first` or a hint compares the generation after pin and validation, an empty `first` carries
// it, and a claim looks once more.
#pragma once
#include "pc.h"

inline int Model::look_again(Proc& p, const char* why) {
  u8 pc = p.pc == CL_DISCARD;
  reset(p, DI_UNPIN);
  if (!pc) say("%s: to the directory", why);
  return RAN;
}
// Look the name up; create its stream if the operation needs one; a tomb that the directory still names makes us finish the clear.
inline int Model::look_up(State& s, Proc& p, int me, int name, char o) {
  Section& t = s.directory;
  enum { FOUND, HELP, NONE };
  switch (p.pc) {
    case DI_UNPIN: return unpin(p, DI_ENTER, "directory: unpin");
    case DI_ENTER:
      NEEDS_EMPTY;
      if (has(kLookupUnlocked) && s.entry[name] && s.entry[name] != p.handle[name]) {
        p.handle[name] = s.entry[name], p.n = FOUND;
        reset(p, o == '!' ? CR_ANNOUNCE : START);
        say("directory: descriptor %d of generation %d (no lock)", index_of(s.entry[name]), gen_of(s.entry[name]));
        return RAN;
      }
      NEEDS_SECTION(t);
      say("directory: section");
      [[fallthrough]];
    case DI_READ: {  // what only sections change is read together with the lock
      u16 e = s.entry[name];
      if (e & kParked) {
        int free = -1;
        for (int d = sc.descriptors - 1; d >= 0; d--)
          if (life_state(s.desc[d]) == DFREE) free = d;
        t.mutex = 0;
        reset(p, e & kEnding || (o == '!' && has(kClearParkedQuiet)) ? CP_JOURNAL
                 : o == '!'                                          ? CP_FLAG
                 : o == '='                                          ? PK_END
                 : free >= 0                                         ? UP_ANCHOR
                                                                     : UP_END);
        p.had = e, p.tgt = std::max(free, 0), p.handle[name] = 0;
        say("directory: parked, next id %d", e >> 8);
        return RAN;
      }
      if (e) {
        p.n = e == p.handle[name] ? HELP : FOUND;
        p.handle[name] = e;
        return go(p, DI_LEAVE, "directory: descriptor %d of generation %d%s", index_of(e), gen_of(e), p.n ? ", which has a tomb" : "");
      }
      p.n = NONE, p.handle[name] = 0;
      if (strchr("pbwvq", o))
        for (int d = 0; d < sc.descriptors; d++)
          if (life_state(s.desc[d]) == DFREE) {
            p.tgt = d;
            return go(p, DI_STATE, "directory: absent, create descriptor %d of generation %d", d, life_gen(s.desc[d]));
          }
      return go(p, DI_LEAVE, "directory: absent");
    }
    case DI_STATE:
      journal(s, t, A_DESC + p.tgt, life(life_gen(s.desc[p.tgt]), DLIVE, 0));  // base: nobody looks there yet
      s.base[p.tgt] = s.floor[name];
      for (int l = 0; l < sc.lanes; l++) s.stream[p.tgt * sc.lanes + l].dense = 0;
      for (int l = 0; l < sc.lanes; l++)
        if (s.stream[p.tgt * sc.lanes + l].first != life_gen(s.desc[p.tgt]) << 8) fail("a new descriptor is not empty");
      return go(p, DI_ENTRY, "directory: descriptor LIVE, ids above %d", s.floor[name]);
    case DI_ENTRY: journal(s, t, A_ENTRY + name, handle(p.tgt, life_gen(s.desc[p.tgt]))); return go(p, DI_COMMIT, "directory: name it");
    case DI_COMMIT:
      commit(t);
      p.handle[name] = s.entry[name], p.n = FOUND;
      return go(p, DI_LEAVE, "directory: commit");
    case DI_LEAVE: {
      t.mutex = 0;
      int n = p.n;
      say("directory: leave");
      if (n == NONE && o != '!') finish(p);
      else if (n == HELP && has(kNoHelp)) reset(p, START);
      else if (n == HELP) reset(p, life_state(s.desc[index_of(p.handle[name])]) == DLIVE ? PH_FIRST : CR_LANE);
      else reset(p, o != '!' ? START : n == NONE ? CR_END : has(kDirectoryBeforeTombs) ? CR_ENTER : CR_ANNOUNCE);
      return RAN;
    }
  }
  abort();
}

// Clear, or the help for one: tombs in all lanes, then the name is absent, then (clear) the sweep.
inline int Model::clear(State& s, Proc& p, int me, int name, char o) {
  Section& t = s.directory;
  u16 h = p.handle[name];
  int d = index_of(h), k = d * sc.lanes + p.i;
  auto lane_done = [&](const char* what) {
    int lane = p.i + 1;
    u8 last = p.last;
    reset(p, lane < sc.lanes                          ? CR_LANE
             : has(kDirectoryBeforeTombs) && o == '!' ? SW_FIRST
             : sc.gaps && !has(kClearJournalLate)     ? CR_JOURNAL
                                                      : CR_ENTER);
    p.last = last;
    if (lane < sc.lanes) p.i = lane;
    if (p.pc == SW_FIRST) p.tgt = d * sc.lanes, p.dgen = gen_of(h);
    say("clear: %s", what);
    return RAN;
  };
  switch (p.pc) {
    case START: p.handle[name] = 0; return go(p, DI_ENTER, "clear");
    case CR_ANNOUNCE: {  // whoever comes from now on finishes this clear before he pushes or claims
      NEEDS_EMPTY;
      u16& word = s.desc[d];
      bool on = word == life(gen_of(h), DLIVE, 0) || word == life(gen_of(h), DCLEARING, 0);
      if (on && !has(kClearUnannounced)) word = life(gen_of(h), DCLEARING, 0);
      if (!on && sc.gaps && !has(kClearOverPark)) {  // or parked it
        p.handle[name] = 0;
        return go(p, DI_ENTER, "clear: descriptor %d is not LIVE", d);
      }
      return go(p, on ? CR_LANE : CR_SWEEP, on ? "clear: descriptor %d CLEARING" : "clear: another has cleared descriptor %d", d);
    }
    case CR_LANE: {
      u16 f = s.stream[k].first;
      if (f == kTomb) return lane_done("a tomb already");
      if (!target(f) && gen_of(f) != gen_of(h)) return go(p, CR_ENTER, "clear: the descriptor is of another generation");
      p.r = target(f), p.fresh = 1;
      return go(p, p.r ? CR_PIN : CR_EMPTY, "clear: first page is %d", page_of(p.r));
    }
    case CR_EMPTY: {
      NEEDS_EMPTY;
      u16& f = s.stream[k].first;
      bool ok = has(kFirstNoGen) ? !(f & 127) : f == gen_of(h) << 8;
      if (ok) f = kTomb;
      return ok ? lane_done("first is the tomb") : go(p, CR_LANE, "clear: somebody was first");
    }
    case CR_PIN:
      NEEDS_ROOM;
      p.off = p.cnt = 0;
      return pin(p, p.r, CR_VALID, "clear: pin page %d");
    case CR_VALID: {
      bool ok = valid(s, p.r);
      return go(p,
                !ok                              ? CR_LANE
                : p.fresh && !has(kGenUnchecked) ? CR_DESCRIPTOR
                                                 : CR_WORD,
                "clear: page %d is in %s", page_of(p.r), ok ? "the same life" : "another life");
    }
    case CR_DESCRIPTOR:
      p.fresh = 0;
      return go(p, life_gen(s.desc[d]) == gen_of(h) ? CR_WORD : CR_ENTER, "clear: the generation is %d", life_gen(s.desc[d]));
    case CR_WORD: {
      u32 w = load(s, p, word_at(p.r, p.off));
      say("clear: page %d[%d] is %s", page_of(p.r), p.off, kStateName[state_of(w)]);
      if (state_of(w) == FREE) p.pc = CR_SEAL;
      else if (state_of(w) == SEAL) p.pc = CR_NEXT, p.cnt = rec(w).item;
      else p.off += size_of(w), p.cnt += ids_of(w);
      return RAN;
    }
    case CR_SEAL:
      NEEDS_EMPTY;
      cas_word(s, p.r, p.off, 0, pack({SEAL, 0, 0, 0, 0, p.cnt}));
      return go(p, CR_WORD, "clear: seal page %d[%d] after %d ids", page_of(p.r), p.off, p.cnt);
    case CR_NEXT:
    case CR_TOMB: {
      u16& next = s.page[page_of(p.r)].next;
      if (p.pc == CR_NEXT && !next) return go(p, CR_TOMB, "clear: page %d has no next", page_of(p.r));
      if (target(next)) {
        p.r = target(next), p.fresh = 0;
        return go(p, CR_PIN, "clear: next page is %d", page_of(p.r));
      }
      if (!next) {
        NEEDS_EMPTY;
        landed(s, page_of(p.r), gen_of(p.r), "next was set on a page in another life");
        next = kTomb;
      }
      p.last = std::max<int>(p.last, s.page[page_of(p.r)].first_seq + p.cnt - 1);
      return lane_done("tomb");
    }
    case CR_JOURNAL:  // a commit of the durable tier: what a rebuild finds up to here is cleared
      s.cleared_upto[name] = std::max<u8>(s.cleared_upto[name], p.last);
      return go(p, CR_ENTER, "clear: CLEAR up to id %d in the journal", p.last);
    case CR_JOURNAL_LATE: {
      s.cleared_upto[name] = std::max<u8>(s.cleared_upto[name], p.last);
      p.last = 0;
      return go(p, CR_SWEEP, "clear: CLEAR in the journal");
    }
    case CR_ENTER:
      NEEDS_SECTION(t);
      say("clear: directory");
      [[fallthrough]];
    case CR_READ: {
      bool ok = s.entry[name] == h;
      return go(p, !ok ? CR_LEAVE : has(kFloorLate) ? CR_ENTRY : CR_FLOOR, ok ? "clear: still named" : "clear: not named any more");
    }
    case CR_FLOOR: {
      u16 floor = std::max<u16>(s.floor[name], p.last);
      if (has(kFloorLogged)) journal(s, t, A_FLOOR + name, floor);
      else s.floor[name] = floor;
      return go(p, has(kDirectoryDecides) ? CR_STATE : CR_ENTRY, "clear: new ids are above %d", floor);
    }
    case CR_ENTRY: journal(s, t, A_ENTRY + name, 0); return go(p, has(kDirectoryDecides) ? CR_COMMIT : CR_STATE, "clear: the name is absent");
    case CR_STATE:
      journal(s, t, A_DESC + d, life(gen_of(h), DTOMBED, 0));
      return go(p, has(kDirectoryDecides) ? CR_ENTRY : CR_COMMIT, "clear: descriptor %d TOMBED", d);
    case CR_COMMIT: commit(t); return go(p, has(kFloorLate) ? CR_FLOOR_LATE : CR_LEAVE, "clear: commit");
    case CR_FLOOR_LATE: s.floor[name] = std::max<u16>(s.floor[name], p.last); return go(p, CR_LEAVE, "clear: new ids are above %d", s.floor[name]);
    case CR_LEAVE:
      t.mutex = 0;
      if (has(kClearJournalLate) && sc.gaps) return go(p, CR_JOURNAL_LATE, "clear: leave");
      reset(p, CR_RING);
      if (has(kClearNoWake) || !waits_) p.pc = CR_SWEEP;
      say("clear: leave");
      return RAN;
    case CR_RING: {  // waiters would sleep on at a bell that nobody rings any more
      NEEDS_EMPTY;
      Stream& lane = s.stream[k];
      if (lane.bell & kAsleep) {
        lane.bell = (lane.bell + kRing) & ~kRaised;
        return go(p, CR_WAKE, "clear: ring");
      }
      p.i++;
      if (p.i == sc.lanes) reset(p, CR_SWEEP);
      say("clear: nobody waits");
      return RAN;
    }
    case CR_WAKE:
      s.stream[k].sleepers = 0, p.i++, p.pc = CR_RING;
      if (p.i == sc.lanes) reset(p, CR_SWEEP);
      say("clear: wake all");
      return RAN;
    case CR_SWEEP:
      NEEDS_ROOM;
      store(p, A_PIN + p.pinslot, 0);
      if (o == 'm') {
        reset(p, MT_LOOK);
        p.handle[name] = 0;
        return RAN;
      }
      if (o != '!') return go(p, DI_ENTER, "clear: helped");
      if (has(kDirectoryBeforeTombs)) return go(p, CR_LANE, "clear: now the tombs");
      p.tgt = d * sc.lanes, p.dgen = gen_of(h), p.i = 0;
      return go(p, has(kNoSweep) ? CR_END : sc.sole && !has(kSoleNoBarrier) ? CR_BARRIER : sweep_from(), "clear: sweep");
    case CR_BARRIER: return membarrier(s, p, me, sweep_from(), "clear: membarrier reaches P%d");
    case CR_END:
      NEEDS_ROOM;
      store(p, A_PIN + p.pinslot, 0);
      s.cleared |= p.before & ~s.acked & ~s.swept;
      s.open[name]--;
      p.handle[name] = 0;
      finish(p);
      say("clear: end");
      return RAN;
  }
  abort();
}
inline void Model::ended(State& s, u32 w) {
  int item = rec(w).item;
  for (int i = 0; i <= procs; i++)
    if (s.p[i].alive && s.p[i].held && (int)rec(s.p[i].tw).item == item) s.p[i].expired = 1;
  if (s.safe >> item & 1) fail("an item that was pushed after every clear had returned was ended by one");
  s.swept |= 1 << item;
}
// READY and CLAIMED -> DONE in one lane of a tombed descriptor, p.tgt. WRITING and RETURNING are left: somebody comes again.
inline int Model::sweep_from() const { return sc.gaps && !has(kClearGapsStay) ? CG_ENTER : SW_FIRST; }
inline int Model::sweep(State& s, Proc& p, int me, char o) {
  int k = p.tgt, d = k / sc.lanes;
  Stream& t = s.stream[k];
  switch (p.pc) {
    case CG_ENTER: NEEDS_SECTION(t); return go(p, CG_CUT, "cut: section");
    case CG_CUT:
      for (u16 r = life_gen(s.desc[d]) == p.dgen ? target(t.first) : 0; r; r = target(s.page[page_of(r)].next)) {
        u16 next = s.page[page_of(r)].next;
        if (!(next & kGap)) continue;
        t.refills++;
        journal(s, t, A_NEXT + page_of(r), target(next));
        say("cut: page %d follows page %d", page_of(next), page_of(r));
        return RAN;
      }
      commit(t);
      return go(p, CG_LEAVE, "cut: commit");
    case CG_LEAVE: t.mutex = 0; return go(p, SW_FIRST, "cut: leave");
    case SW_FIRST:
      p.r = target(s.stream[k].first), p.off = 0, p.fresh = 1;
      return go(p, p.r ? SW_PIN : SW_END, "sweep: first page is %d", page_of(p.r));
    case SW_PIN: return pin(p, p.r, SW_VALID, "sweep: pin page %d");
    case SW_VALID: {
      bool ok = valid(s, p.r);
      return go(p,
                !ok                                ? SW_FIRST
                : p.fresh && !has(kSweepUnchecked) ? SW_DESCRIPTOR
                                                   : SW_WORD,
                "sweep: page %d is in %s", page_of(p.r), ok ? "the same life" : "another life");
    }
    case SW_DESCRIPTOR:
      p.fresh = 0;
      return go(p, life_gen(s.desc[d]) == p.dgen ? SW_WORD : SW_END, "sweep: the generation is %d", life_gen(s.desc[d]));
    case SW_WORD: {
      u32 w = load(s, p, word_at(p.r, p.off));
      say("sweep: page %d[%d] is %s", page_of(p.r), p.off, kStateName[state_of(w)]);
      if (state_of(w) == READY || state_of(w) == CLAIMED)
        p.pc = state_of(w) == CLAIMED && rec(w).intent && !has(kSoleSwept) ? SW_SOLE : SW_CAS, p.w = w;
      else if (state_of(w) == SEAL) p.pc = SW_NEXT;
      else if (state_of(w) == FREE) p.pc = SW_END;
      else p.off += size_of(w);
      return RAN;
    }
    case SW_CAS: {
      NEEDS_EMPTY;
      u32 w = p.w;
      p.w = 0;
      bool ok = cas_word(s, p.r, p.off, w, pack({DONE, 0, 0, size_of(w), 0, 0}));
      if (ok) ended(s, w);
      return go(p, SW_WORD, ok ? "sweep: item %d DONE" : "sweep: item %d changed", rec(w).item);
    }
    case SW_SOLE:
      NEEDS_EMPTY;
      sweep_sole(s, p);
      p.off += size_of(p.w), p.w = 0;
      return go(p, SW_WORD, "sweep: a sole claim");
    case SW_NEXT: {
      p.r = target(s.page[page_of(p.r)].next), p.off = p.fresh = 0;
      return go(p, p.r ? SW_PIN : SW_END, "sweep: next page is %d", page_of(p.r));
    }
    case SW_END:
      NEEDS_ROOM;
      store(p, A_PIN + p.pinslot, 0);
      p.r = 0, p.off = p.fresh = 0;
      if (o == '!' && ++p.tgt % sc.lanes) return go(p, SW_FIRST, "sweep: next lane");
      return go(p, o == '!' ? CR_END : sc.gaps ? SW_ROWS : MT_ENTER, "sweep: end");
    case SW_ROWS:
      erase_cleared(s);
      if (has(kForgetEarly)) s.forgotten_upto = s.cleared_upto[0];
      return go(p, MT_ENTER, "sweep: rows up to id %d are deleted", s.cleared_upto[0]);
  }
  abort();
}
inline void Model::erase_cleared(State& s) {  // a commit of the durable tier
  for (Row& row : s.row)
    if (row.count && row.first_seq + row.count - 1 <= s.cleared_upto[0]) {
      for (u32 w : row.word)
        if (state_of(w) == READY && !((s.acked | s.swept) >> rec(w).item & 1)) ended(s, w);
      row = Row{};
    }
}
// A tombed descriptor may be used again when `first` of every lane is the tomb: seen in that lane's section, so that no journal takes it back.
inline int Model::free_descriptor(State& s, Proc& p, int me) {
  Section& t = s.directory;
  int d = p.tgt / sc.lanes;
  switch (p.pc) {
    case FD_ROWS:  // no page is left that somebody could still spill
      erase_cleared(s);
      return go(p, FD_FORGET, "free: rows up to id %d are deleted", s.cleared_upto[0]);
    case FD_FORGET: s.forgotten_upto = s.cleared_upto[0]; return go(p, FD_ENTER, "free: the durable tier forgets the stream");
    case FD_ENTER: NEEDS_SECTION(t); return go(p, FD_CHECK, "free: directory");
    case FD_CHECK: {
      bool ok = s.desc[d] == life(p.dgen, DTOMBED, 0);
      for (int l = 0; l < sc.lanes; l++) ok = ok && (s.stream[d * sc.lanes + l].first == kTomb || has(kFreeEarly));
      p.i = 0;
      return go(p, ok ? FD_FIRST : FD_LEAVE, ok ? "free: descriptor %d has only tombs" : "free: descriptor %d is not ready", d);
    }
    case FD_FIRST:
      journal(s, t, A_FIRST + d * sc.lanes + p.i, (p.dgen + 1) << 8);
      if (++p.i == sc.lanes) p.i = 0, p.pc = FD_STATE;
      say("free: an empty first of generation %d", p.dgen + 1);
      return RAN;
    case FD_STATE: journal(s, t, A_DESC + d, life(p.dgen + 1, DFREE, 0)); return go(p, FD_COMMIT, "free: descriptor FREE");
    case FD_COMMIT: commit(t); return go(p, FD_LEAVE, "free: commit");
    case FD_LEAVE: t.mutex = 0; return go(p, MT_SKIP, "free: leave");
  }
  abort();
}
