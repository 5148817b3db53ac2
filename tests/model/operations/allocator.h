// The allocator's section: a bitmap says which pages are taken, a word their size, the life whose they are. One undo journal covers all
// three, so a page is never taken and nobody's, nor free and somebody's, once the section of a dead one has been entered again.
#pragma once
#include "pc.h"

// To p.ret with a page that is BUILDING(me) in p.q.
inline int Model::allocate(State& s, Proc& p, int me) {
  Section& t = s.allocator;
  auto set_life = [&] { s.page[page_of(p.q)].life = life(gen_of(p.q), BUILDING, p.owner); };
  switch (p.pc) {
    default:  // the caller's step
      if (!enter(s, t, me)) return OFF;
      [[fallthrough]];
    case AL_ENTER:
      if (t.entries) {
        if (has(kAllocatorNoReplay)) commit(t);
        else undo_one(s, t);
        return go(p, AL_ENTER, "allocator: undo one word of the dead");
      }
      return go(p, AL_BITS, "allocator: section");
    case AL_BITS: {
      int q = 0;
      while (q < sc.pages && s.bits >> q & 1) q++;
      if (q == sc.pages) return go(p, AL_FULL, "allocator: no page");
      if (life_state(s.page[q].life) != PFREE) fail("the allocator hands out a page that is in use");
      p.q = ref(q, life_gen(s.page[q].life) + 1);
      journal(s, t, A_BITS, s.bits | 1 << q);
      return go(p, AL_SIZE, "allocate: page %d: bits", q);
    }
    case AL_SIZE: journal(s, t, A_SIZE + page_of(p.q), 1); return go(p, has(kAllocateLifeLate) ? AL_COMMIT : AL_LIFE, "allocate: size");
    case AL_LIFE: {
      u16 l = s.page[page_of(p.q)].life;
      if (life_state(l) != PFREE) fail("the allocator hands out a page that is in use");
      if (has(kAllocateLifeUnlogged)) set_life();
      else journal(s, t, A_LIFE + page_of(p.q), life(gen_of(p.q), BUILDING, p.owner));
      return go(p, AL_COMMIT, "allocate: page %d BUILDING", page_of(p.q));
    }
    case AL_COMMIT: commit(t); return go(p, AL_LEAVE, "allocate: commit");
    case AL_LEAVE:
      t.mutex = 0;
      p.pc = has(kAllocateLifeLate) ? (u16)AL_LIFE_LATE : p.ret;
      if (!has(kAllocateLifeLate)) p.ret = 0;
      say("allocate: leave");
      return RAN;
    case AL_LIFE_LATE:
      set_life();
      p.pc = p.ret, p.ret = 0;
      say("allocate: page %d BUILDING (late)", page_of(p.q));
      return RAN;
    case AL_FULL: {
      t.mutex = 0;
      bool own = p.ret == OW_LAY;
      p.ret = 0;
      if (own) finish(p);
      else p.pc = PU_FULL;
      say("allocator: leave");
      return RAN;
    }
  }
}

// Free a page that is ZEROING(me) and zeroed: p.r of a recycler, who goes on at p.ret, or p.q of a linker who has lost (p.ret is 0).
inline int Model::give_back(State& s, Proc& p, int me) {
  Section& t = s.allocator;
  u16 r = p.ret ? p.r : p.q;
  int page = page_of(r);
  switch (p.pc) {
    default:  // a linker's page: nobody else has ever seen it
      NEEDS_EMPTY;
      cas_life(s, r, BUILDING, p.owner, ZEROING, p.owner);
      return go(p, AF_ZERO, "link: page %d ZEROING", page);
    case AF_ZERO: {
      Page clean{};
      clean.life = s.page[page].life;
      s.page[page] = clean;
      return go(p, AF_ENTER, "link: zeroed");
    }
    case AF_BITS: s.bits &= ~(1 << page); return go(p, AF_ENTER, "free: page %d: bits (early)", page);
    case AF_ENTER:
      NEEDS_EMPTY;
      if (!enter(s, t, me)) return OFF;
      if (t.entries) {
        if (has(kAllocatorNoReplay)) commit(t);
        else undo_one(s, t);
        say("allocator: undo one word of the dead");
        return RAN;
      }
      return go(p, has(kFreeBitsFirst) ? AF_SIZE : AF_BITS_IN, "allocator: section");
    case AF_BITS_IN: journal(s, t, A_BITS, s.bits & ~(1 << page)); return go(p, AF_SIZE, "free: page %d: bits", page);
    case AF_SIZE: journal(s, t, A_SIZE + page, 0); return go(p, AF_LIFE, "free: size");
    case AF_LIFE:
      if (s.page[page].life != life(gen_of(r), ZEROING, p.owner)) fail("a page that is being freed is in use");
      journal(s, t, A_LIFE + page, life(gen_of(r), PFREE, 0));
      return go(p, AF_COMMIT, "free: page %d FREE", page);
    case AF_COMMIT: commit(t); return go(p, AF_LEAVE, "free: commit");
    case AF_LEAVE: {
      t.mutex = 0;
      int back = p.ret ? (int)p.ret : p.r ? PU_NEXT : PU_FIRST;
      if (p.ret == MT_COLLECT) p.r = 0;
      if (!p.ret) p.q = 0;
      p.ret = 0;
      return go(p, back, "free: leave");
    }
  }
}
