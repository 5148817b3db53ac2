// Delayed items. Their lane is a stream of its own (B); one that is due goes to the ready lane (A) by a move. A word `due` {earliest, version} of
// each page and of the stream says when to look: it may be too early, never too late.
#pragma once
#include "pc.h"

// A pusher or mover, between WRITING and READY: first the page's word, then the stream's. Each is compare-exchanged even if it stays as early
// as it was: a scan that has passed by must not raise it.
inline int Model::lower_due(State& s, Proc& p, int k, u32 item) {
  bool page = p.pc == DU_PAGE || p.pc == DU_PAGE_CAS;
  u16& word = page ? s.page[page_of(p.r)].due : s.stream[k].due;
  int mine = due_of(item);
  switch (p.pc) {
    case DU_PAGE:
    case DU_STREAM:
      p.due = word;
      return go(p, page ? DU_PAGE_CAS : DU_STREAM_CAS, "lower: the %s is due at %d, version %d", page ? "page" : "stream", due_earliest(word),
                due_version(word));
    case DU_PAGE_CAS:
    case DU_STREAM_CAS: {
      NEEDS_EMPTY;
      if (word != p.due) return go(p, page ? DU_PAGE : DU_STREAM, "lower: it has moved");
      int was = due_earliest(word);
      if (!page) p.lowered = sooner(was, mine) != was;
      if (sooner(was, mine) != was || !has(kDueSkip)) word = due(sooner(was, mine), due_version(word) + !has(kDueNoVersion));
      if (page) landed(s, page_of(p.r), gen_of(p.r), "the due time of a page in another life was lowered");
      p.due = 0;
      bool last = page == has(kDueStreamFirst);
      Pc after = has(kDueAfterReady) ? PU_STORE_HINT : has(kDueBeforeWriting) ? PU_RESERVE : p.to ? MV_SOURCE : PU_PUBLISH;
      return go(p,
                last   ? after
                : page ? DU_STREAM
                       : DU_PAGE,
                "lower: the %s is due at %d, version %d", page ? "page" : "stream", due_earliest(word), due_version(word));
    }
  }
  abort();
}
// One scan: every item that is due is claimed and moved. What the scan saw of a page or of the stream becomes its word, from exactly the value
// read before it, if nothing that it met may become READY behind its back.
inline int Model::scan(State& s, Proc& p, int me, int k) {
  Stream& t = s.stream[k];
  auto met = [&](bool skip) { p.unclean_here |= !skip; };
  auto end_of_page = [&] {
    p.w = 0;
    p.off = 0;
    return p.due_here ? DS_RAISE_PAGE : DS_NEXT;
  };
  if (p.pc >= IN_PLACE && p.pc <= NK_UNPIN) return settle(s, p, k, 'd');  // no page to move to: given back
  if (p.to) return move(s, p, me, k, 'd');
  if (p.pc >= RF_FIND && p.pc <= RF_END) return refill(s, p, me, k);
  switch (p.pc) {
    case DS_DUE:
      p.due = t.due, p.now = s.now, p.scanning = 1;
      if (!due_earliest(t.due) || due_earliest(t.due) > p.now)
        return go(p, DS_NOTHING, "scan: nothing is due at %d before %d", p.now, due_earliest(t.due));
      return go(p, DS_FIRST, "scan: at %d, due since %d, version %d", p.now, due_earliest(t.due), due_version(t.due));
    case DS_FIRST: p.r = t.first, p.least = p.off = 0; return go(p, p.r ? DS_PIN : DS_UNPIN, "scan: first page is %d", page_of(p.r));
    case DS_PIN: return pin(p, p.r, DS_VALID, "scan: pin page %d");
    case DS_VALID: {
      bool ok = valid(s, p.r), on = p.scan_page && p.scan_page == p.r;
      p.scan_page = p.scan_off = 0;
      if (!ok) p.due_here = p.least_here = p.unclean_here = 0, p.gap_from = 0;
      return go(p,
                !ok          ? DS_FIRST
                : on         ? DS_WORD
                : p.gap_from ? DS_FRONT
                             : DS_PAGE,
                "scan: page %d is in %s", page_of(p.r), ok ? "the same life" : "another life");
    }
    case DS_FRONT: {  // over a gap: what is due in it counts
      const Page& g = s.page[page_of(p.r)];
      int when = g.front_of == p.gap_from ? g.front_word & 15 : p.least_here;
      if (when && when <= p.now && !p.due_gap) p.due_gap = p.gap_from;
      p.least = sooner(p.least, when), p.least_here = 0, p.gap_from = 0;
      return go(p, DS_PAGE, "scan: the gap before page %d is due at %d", page_of(p.r), when);
    }
    case DS_PAGE: {
      u16 d = s.page[page_of(p.r)].due;
      p.off = p.least_here = p.unclean_here = 0;
      bool look = has(kDueNoPages) || (due_earliest(d) && due_earliest(d) <= p.now);
      p.due_here = look ? d : 0;
      if (!look) p.least = sooner(p.least, due_earliest(d));
      return go(p, look ? DS_WORD : DS_NEXT, "scan: page %d is due at %d, version %d", page_of(p.r), due_earliest(d), due_version(d));
    }
    case DS_WORD: {
      if (p.off >= sc.slots) {
        fail("a walk ran off the page");
        return RAN;
      }
      u32 w = load(s, p, word_at(p.r, p.off));
      say("scan: page %d[%d] is %s", page_of(p.r), p.off, kStateName[state_of(w)]);
      switch (state_of(w)) {
        case READY: {
          int d = due_of(rec(w).item);
          if (d <= p.now) {
            p.w = w, p.pc = DS_CLAIM;
            return RAN;
          }
          p.least_here = sooner(p.least_here, d);
          break;
        }
        case FREE:
        case SEAL: p.pc = end_of_page(); return RAN;
        case WRITING: met(has(kDueOverWriting)); break;
        case RETURNING: met(has(kDueOverReturning)); break;
        case CLAIMED: met(has(kDueOverClaimed) || (has(kDueOwnClaims) && rec(w).owner == p.owner)); break;
        case SPILLING: met(false); break;
      }
      p.off += size_of(w);
      return RAN;
    }
    case DS_CLAIM: {
      NEEDS_EMPTY;
      Rec c = rec(p.w);
      u32 before = p.w;
      c.state = CLAIMED, c.owner = p.owner, c.claims++, p.w = 0;
      if (!cas_word(s, p.r, p.off, before, pack(c))) return go(p, DS_WORD, "scan: lost the record");
      p.held = 1, p.expired = 0, p.tr = p.r, p.toff = p.off, p.tw = pack(c);
      claimed(s, p, p.tw, k);
      return go(p, DS_HOLD, "scan: item %d CLAIMED", c.item);
    }
    case DS_HOLD: {
      NEEDS_ROOM;
      store(p, A_HOLD + p.pinslot, page_of(p.r) + 1);
      say("scan: hold page %d", page_of(p.r));
      p.scan_page = p.r, p.scan_off = p.off, p.r = 0, p.off = 0;
      p.to = 1, p.pc = MV_TAIL;
      return RAN;
    }
    case DS_RAISE_PAGE: {
      NEEDS_EMPTY;
      u16& word = s.page[page_of(p.r)].due;
      bool raise = !p.unclean_here && (word == p.due_here || has(kDueRaiseStored));
      if (raise && !has(kDueNoPages)) word = due(p.least_here, due_version(p.due_here) + !has(kDueNoVersion));
      p.unclean |= !raise, p.least = sooner(p.least, p.least_here);
      p.due_here = p.least_here = p.unclean_here = 0;
      return go(p, DS_NEXT, raise ? "scan: the page is due at %d, version %d" : "scan: the page's word stays", due_earliest(word), due_version(word));
    }
    case DS_NEXT: {
      u16 word = s.page[page_of(p.r)].next, next = target(word);
      if (word & kGap && !has(kDueOverGap)) {
        p.had = next;
        return go(p, DS_GAP, "scan: a gap, then page %d", page_of(next));
      }
      if (next) p.r = next;
      return go(p, next ? DS_PIN : DS_RAISE, "scan: next page is %d", page_of(next));
    }
    case DS_GAP:
      p.least_here = s.page[page_of(p.r)].gap_word & 15, p.gap_from = p.r, p.r = p.had, p.had = 0;
      return go(p, DS_PIN, "scan: page %d says that it is due at %d", page_of(p.gap_from), p.least_here);
    case DS_RAISE: {
      NEEDS_EMPTY;
      bool raise = !p.unclean && (t.due == p.due || has(kDueRaiseStored));
      if (raise) t.due = due(p.least, due_version(p.due) + !has(kDueNoVersion));
      return go(p, DS_UNPIN, raise ? "scan: the stream is due at %d, version %d" : "scan: the stream's word stays", due_earliest(t.due),
                due_version(t.due));
    }
    case DS_UNPIN:
      NEEDS_ROOM;
      store(p, A_PIN + p.pinslot, 0);
      p.r = 0, p.due = 0, p.least = p.unclean = p.off = 0;
      if (p.due_gap && !p.looked) return go(p, DS_REFILL, "scan: unpin");
      p.now = p.due_gap = 0;
      return go(p, DS_NOTHING, "scan: unpin");
    case DS_REFILL:
      p.r = p.due_gap, p.due_gap = 0, p.base = s.stream[k].refills, p.cnt = 0;
      return go(p, RF_PIN, "scan: the gap behind page %d, of version %d", page_of(p.r), p.base);
  }
  abort();
}
// After a move the scan goes on at the same record: it is DONE, or another has it.
inline void Model::scan_on(Proc& p) {
  Proc o = p;
  reset(p, DS_PIN);
  p.due = o.due, p.due_here = o.due_here, p.now = o.now, p.least = o.least, p.least_here = o.least_here;
  p.unclean = o.unclean, p.unclean_here = o.unclean_here, p.scanning = 1, p.scan_page = p.r = o.scan_page, p.off = o.scan_off;
  p.alarm = o.alarm, p.waits = o.waits, p.due_gap = o.due_gap, p.looked = o.looked;
}
inline int Model::scan_op(State& s, Proc& p, int me, int k) {
  if (p.pc == START) p.pc = DS_DUE, p.looked = 0;
  int r = scan(s, p, me, k);
  if (p.pc == DS_NOTHING) finish(p);
  return r;
}
// A waiter of a queue with delayed items. Its wait ends when one is due.
inline int Model::wait_delayed(State& s, Proc& p, int me, bool quits) {
  Stream& t = s.stream[0];
  bool scanning = p.scanning, claiming = !scanning && p.pc >= CL_STREAM && p.pc <= CL_NOTHING;
  if (scanning) {
    u8 waits = p.waits, op = p.op;
    int r = scan(s, p, me, 1);
    if (p.pc == DS_NOTHING) reset(p, DW_DUE), p.waits = waits, p.looked = 1;
    else if (p.op != op) p.scanning = 0;
    return r;
  }
  if (claiming) {
    u8 waits = p.waits, alarm = p.alarm;
    int r = claim(s, p, 0);
    if (p.pc == CL_HELD) reset(p, AC_PIN);
    else if (p.pc == CL_NOTHING) reset(p, DW_SLEEP), p.waits = waits, p.alarm = alarm;
    return r;
  }
  if (p.pc >= IN_PLACE && p.pc <= NK_UNPIN) return settle(s, p, 0, 'c');
  switch (p.pc) {
    case START:
      NEEDS_EMPTY;
      t.bell |= kRaised | kAsleep;
      p.waits = t.bell;
      return go(p, DW_BARRIER, "wait: raise the flag");
    case DW_BARRIER: return membarrier(s, p, me, DW_DUE, "wait: membarrier reaches P%d");
    case DW_DUE: {
      int when = due_earliest(s.stream[1].due);
      bool look = when && when <= s.now && !p.looked;
      p.looked = 0;
      p.alarm = when, p.scanning = look;
      return go(p, look ? DS_DUE : CL_FIRST, "wait: it is %d, the first is due at %d", s.now, when);
    }
    case DW_SLEEP: {
      bool sleep = t.bell == p.waits;
      p.waits = 0;
      if (sleep) t.sleepers |= 1 << me;
      else p.alarm = 0;
      return go(p, sleep ? DW_ASLEEP : START, sleep ? "wait: sleep" : "wait: the bell has rung");
    }
    case DW_ASLEEP: {
      bool asleep = t.sleepers >> me & 1, over = p.alarm && s.now >= p.alarm && !has(kDueNoAlarm);
      if (asleep && quits) {
        t.sleepers &= ~(1 << me);
        finish(p);
        say("wait: the time is over");
        return RAN;
      }
      if (asleep && !over) return OFF;
      t.sleepers &= ~(1 << me);
      p.alarm = 0;
      return go(p, START, asleep ? "wait: it is %d, something is due" : "wait: woken", s.now);
    }
  }
  abort();
}
