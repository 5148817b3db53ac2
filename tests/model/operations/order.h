// First in, first out: a claim looks again at what it has passed before it takes a later record; and what order that gives.
#pragma once
#include "pc.h"

// A claim's walk passes a record that is being written or returned, and remembers it.
inline void Model::pass(Proc& p, u32 w) const {
  if (state_of(w) == RETURNING) p.exempt &= ~(1 << rec(w).item);
  if (has(kPassedForgotten) || (has(kPassedFirstOnly) && p.passes) || (has(kPassedNotReturning) && state_of(w) == RETURNING)) return;
  if (p.passes == 3) abort();
  p.passed[p.passes++] = {p.r, p.off, 0, w};
}
// It stands before a READY record: does every record that it has passed still have the same word? The pages are pinned one after the other.
inline int Model::look_back(State& s, Proc& p, int k) {
  const Passed& before = p.passed[p.looks];
  auto looked = [&](bool same) {
    if (same && ++p.looks < p.passes) return go(p, LB_WORD, "look back: the same");
    if (!same) memset(p.passed, 0, sizeof p.passed), p.passes = 0, p.w = 0, p.q = 0;
    p.looks = 0;
    return go(p, same ? CL_CAS : sc.cursors && !k ? CL_STREAM : CL_FIRST, same ? "look back: the same" : "look back: changed, begin again");
  };
  switch (p.pc) {
    case LB_WORD:
      if (before.page != p.r) return go(p, LB_PIN, "look back: to page %d", page_of(before.page));
      return looked(load(s, p, word_at(before.page, before.off)) == before.word);
    case LB_PIN: return pin(p, before.page, LB_VALID, "look back: pin page %d");
    case LB_VALID: return valid(s, before.page) ? go(p, LB_THERE, "look back: the same life") : looked(false);
    case LB_THERE: {
      bool same = load(s, p, word_at(before.page, before.off)) == before.word;
      if (!same || has(kPassedUnpinned)) return looked(same);
      return go(p, LB_BACK, "look back: page %d[%d] is the same", page_of(before.page), before.off);
    }
    case LB_BACK: return pin(p, p.r, LB_SAME, "look back: pin page %d");
    case LB_SAME: return looked(valid(s, p.r));
  }
  abort();
}

// The order that is promised: nobody takes Y while an X of its lane is READY that has been READY, without interruption, since before Y's
// place was taken. Exempt is an X that was claimed or on its way back as the claim began, or since; but not if its walk has met it on its way back.
inline u16 Model::ready_now(const State& s, int stream) const {
  u16 ready = 0;
  for (int g = 0; g < sc.pages; g++)
    if (s.page[g].stream == stream && (life_state(s.page[g].life) == LINKED || life_state(s.page[g].life) == PSPILLING))
      for (u32 w : s.page[g].word)
        if (state_of(w) == READY || state_of(w) == SPILLING) ready |= 1 << rec(w).item;
  for (u16 r = target(s.stream[stream].first); r && sc.gaps; r = target(s.page[page_of(r)].next)) {  // and what is in gaps
    const Page& g = s.page[page_of(r)];
    if (!(g.next & kGap)) continue;
    for (const Row& row : s.row)
      for (u32 w : row.word)
        if (row.first_seq >= g.first_seq + sealed_count(s, page_of(r)) && row.first_seq < s.page[page_of(target(g.next))].first_seq &&
            state_of(w) == READY)
          ready |= 1 << rec(w).item;
  }
  return ready;
}
inline void Model::begin_order(const State& s, Proc& p) const {
  p.exempt = 0;
  if (!sc.order) return;
  for (const Page& g : s.page)
    for (u32 w : g.word)
      if (state_of(w) == CLAIMED || state_of(w) == RETURNING) p.exempt |= 1 << rec(w).item;
}
inline void Model::check_order(State& s, Proc& p, int item, int stream) {
  if (s.since[item] & ready_now(s, stream) & ~p.exempt)
    fail("a claim took a record while one that was READY before its place was taken is READY still");
  p.exempt = s.since[item] = 0;
  for (u16& items : s.since) items &= ~(1 << item);
  for (int i = 0; i <= procs; i++) {
    int pc = s.p[i].pc;
    if (&s.p[i] != &p && s.p[i].alive && ((pc >= CL_STREAM && pc <= CL_NONE) || (pc >= ST_STREAM && pc <= ST_CAS))) s.p[i].exempt |= 1 << item;
  }
}
