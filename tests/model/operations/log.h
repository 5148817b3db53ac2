// Logs: followers that sleep, readers that go on where they were, trim.
#pragma once
#include "pc.h"

// Wait until there is a record that this reader has not seen.
inline int Model::follow(State& s, Proc& p, int me, int k) {
  Stream& t = s.stream[k];
  switch (p.pc) {
    case START:
      NEEDS_EMPTY;
      t.bell |= kRaised | kAsleep;
      p.armed = t.bell, p.had = p.seen;
      return go(p, WT_BARRIER, "follow: raise the flag");
    case WT_BARRIER: return membarrier(s, p, me, RD_START, "follow: membarrier reaches P%d");
    case WT_SLEEP: {
      bool sleep = t.bell == p.armed;
      p.armed = 0, p.had = 0;
      if (sleep) t.sleepers |= 1 << me;
      return go(p, sleep ? WT_ASLEEP : START, sleep ? "follow: sleep" : "follow: the bell has rung");
    }
    case WT_ASLEEP:
      if (t.sleepers >> me & 1) return OFF;
      return go(p, START, "follow: woken");
  }
  u8 op = p.op, armed = p.armed;
  u16 had = p.had;
  int r = read_log(s, p, k);
  if (p.op != op && p.seen == had) p.op = op, p.pc = WT_SLEEP, p.armed = armed;
  return r;
}

// A reader that keeps its place {page, next id}. Ids are without a hole, unless they were trimmed: before it calls a hole one it looks at
// `trimmed` again, after it has read what does not fit.
inline int Model::read_on(State& s, Proc& p, int k) {
  Stream& t = s.stream[k];
  auto see = [&](u32 w, int id, const char* where) {
    int item = rec(w).item;
    say("read: item %d with id %d %s", item, id, where);
    identify(s, item, id, k, "a reader saw another id than the push returned, or than before");
    p.seen |= 1 << item;
  };
  switch (p.pc) {
    case START:
      if (!p.after) p.after = 1;
      p.must = s.returned, p.below = t.trimmed;
      if (p.after < t.trimmed) p.after = t.trimmed;
      p.r = p.place;
      return go(p, p.r ? TD_PIN : TD_FIRST, "read on: trimmed is %d, from id %d, page %d", t.trimmed, p.after, page_of(p.r));
    case TD_FIRST: p.r = t.first, p.n = 0; return go(p, p.r ? TD_PIN : TD_END, "read on: first page is %d", page_of(p.r));
    case TD_PIN: return pin(p, p.r, TD_VALID, "read on: pin page %d");
    case TD_VALID: {
      bool ok = valid(s, p.r) || has(kTrimUnchecked) || (p.n && has(kGapEndUnchecked));
      return go(p, ok ? TD_SEQ : TD_FIRST, "read on: page %d is in %s", page_of(p.r), ok ? "the same life" : "another life");
    }
    case TD_SEQ: {
      int first = s.page[page_of(p.r)].first_seq;
      if (first > p.after) return go(p, p.n ? TD_ROW : TD_HOLE, "read on: page %d begins at id %d, not %d", page_of(p.r), first, p.after);
      p.seq = first, p.off = p.n = 0, p.place = p.r;
      return go(p, TD_WORD, "read on: page %d begins at id %d", page_of(p.r), first);
    }
    case TD_HOLE: {
      int trimmed = has(kTrimNotReread) ? p.below : t.trimmed, first = s.page[page_of(p.r)].first_seq;
      if (trimmed < first) {
        fail("a reader met a hole that is not trimmed");
        return RAN;
      }
      p.after = first;
      return go(p, TD_SEQ, "read on: trimmed is %d", trimmed);
    }
    case TD_ROW: {
      Row* row = nullptr;
      for (Row& r : s.row)
        if (r.count && r.first_seq <= p.after && p.after < r.first_seq + r.count) row = &r;
      if (row && has(kGapRowExact) && row->first_seq != p.after) row = nullptr;
      if (!row) return go(p, TD_NO_ROW, "read on: no row of id %d", p.after);
      p.seq = row->first_seq;
      for (int off = 0; state_of(row->word[off]) != SEAL;) {
        u32 w = row->word[off];
        if (state_of(w) == READY && p.seq >= p.after) see(w, p.seq, "in a row");
        p.seq += ids_of(w), off += size_of(w);
      }
      p.after = p.seq;
      return go(p, TD_SEQ, "read on: row up to id %d", p.seq);
    }
    case TD_NO_ROW: {
      int trimmed = has(kTrimRowNotReread) ? p.below : t.trimmed;
      if (trimmed <= p.after) {
        fail("a reader misses a row that is not trimmed");
        return RAN;
      }
      p.after = trimmed;
      return go(p, TD_SEQ, "read on: trimmed is %d", trimmed);
    }
    case TD_WORD: {
      u32 w = load(s, p, word_at(p.r, p.off));
      say("read on: page %d[%d] is %s", page_of(p.r), p.off, kStateName[state_of(w)]);
      switch (state_of(w)) {
        case READY:
        case DONE:
          if (state_of(w) == READY && p.seq >= p.after) see(w, p.seq, "in memory");
          p.off += size_of(w), p.seq += ids_of(w);
          if (p.seq > p.after) p.after = p.seq;
          break;
        case SEAL: p.pc = TD_NEXT; break;
        default: p.pc = TD_END;
      }
      return RAN;
    }
    case TD_NEXT: {
      u16 next = s.page[page_of(p.r)].next;
      if (target(next)) p.r = target(next);
      p.n = (next & kGap) != 0;
      return go(p, target(next) ? TD_PIN : TD_END, "read on: next page is %d%s", page_of(next), p.n ? ", after a gap" : "");
    }
    case TD_END:
      NEEDS_ROOM;
      store(p, A_PIN + p.pinslot, 0);
      for (int i = 0; i < kMaxItems; i++)
        if (s.seq_of[i] && stream_of_[i] == k && p.must >> i & 1 && !(p.seen >> i & 1) && s.seq_of[i] >= t.trimmed && s.seq_of[i] < p.after)
          fail("a reader skipped a live id");
      say("read on: up to id %d", p.after);
      finish(p);
      return RAN;
  }
  abort();
}

// Trim what this process has read; pages wholly below go, rows too.
inline int Model::trim(State& s, Proc& p, int me, int k) {
  Stream& t = s.stream[k];
  switch (p.pc) {
    case START:
      p.below = has(kTrimUnclamped) ? 9 : p.after;
      if (!p.below) return finish(p), RAN;
      return go(p, has(kTrimUnlinkFirst) ? MT_ENTER : TR_LOAD, "trim: below %d", p.below);
    case TR_LOAD:
      p.least = t.trimmed;
      if (t.trimmed < p.below) return go(p, TR_CAS, "trim: trimmed is %d", t.trimmed);
      p.least = 0;
      return go(p, has(kTrimUnlinkFirst) ? TR_END : TR_ROWS, "trim: trimmed is %d already", t.trimmed);
    case TR_CAS:
      NEEDS_EMPTY;
      if (t.trimmed != p.least && !has(kTrimStored)) return go(p, TR_LOAD, "trim: it has moved");
      p.least = 0;
      if (t.trimmed > p.below) fail("trimmed went backwards");
      t.trimmed = p.below;
      return go(p, has(kTrimUnlinkFirst) ? TR_END : TR_ROWS, "trim: trimmed is %d", t.trimmed);
    case TR_ROWS:  // SQLite's commit
      for (Row& r : s.row)
        if (r.count && r.first_seq + r.count <= p.below) r = Row{};
      return go(p, MT_ENTER, "trim: rows below %d are gone", p.below);
    case TR_END: finish(p); return RAN;
  }
  u8 op = p.op, below = p.below;
  int r = maintain(s, p, me);
  if (p.op != op && has(kTrimUnlinkFirst)) p.op = op, p.pc = TR_LOAD, p.below = below;
  return r;
}
// May this page of a log go? Only what is trimmed: a page of abandoned records would leave a hole in the ids.
inline bool Model::trimmed_away(const State& s, const Proc& p, int page) const {
  const Stream& t = s.stream[s.page[page].stream];
  int n = sealed_count(s, page), below = has(kTrimUnlinkFirst) && p.below > t.trimmed ? p.below : t.trimmed;
  return (n >= 0 && s.page[page].first_seq + n <= below) || (has(kTrimAllDone) && all_done(s, page));
}
