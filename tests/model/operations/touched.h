// Not to scan the world: a participant's set of streams and a page's set of owners. Each has its bit before its first pin of the stream and before
// its first compare-exchange on the page (which it has pinned and validated), by an atomic or; a page's bits go when it is zeroed.
#pragma once
#include "pc.h"

// Runs before the step proper; true: this was the step.
inline bool Model::touch(State& s, Proc& p, int k, char o, int& result) {
  if (!sc.touch) return false;
  auto in = [&](std::initializer_list<u8> list) { return std::find(list.begin(), list.end(), p.pc) != list.end(); };
  int to = p.to ? p.to - 1 : k;
  u8& streams = s.touched[p.owner];
  bool begins = (p.pc == START && strchr("pbocnhikdjl&~", o)) || p.pc == MV_TAIL, late = has(kTouchedLate);
  if (late) begins = in({PU_STORE_HINT, CL_UNPIN, EX_RAISE});
  if (begins && !(streams >> to & 1)) {
    result = OFF;
    if (p.buffered) return true;
    result = RAN;
    if (has(kTouchedStored)) {
      if (!p.alarm) {
        p.least = streams, p.alarm = 1;
        say("touch: the set of slot %d is %d", p.owner, streams);
        return true;
      }
      streams = p.least | 1 << to;
      p.least = p.alarm = 0;
    } else streams |= 1 << to;
    say("touch: slot %d touches stream %c", p.owner, 'A' + to);
    return true;
  }
  bool names = in({PU_RESERVE, CL_CAS, LS_RETURN, SP_TAKE});
  if (has(kNamedLate)) names = in({PU_PUBLISH, PU_INNER, MV_SOURCE, CL_STORE_HINT, CL_UNPIN, CL_HOLD, EX_RAISE});
  if (has(kNamedEarly)) names = in({PU_PIN, CL_PIN});
  if (!names) return false;
  u16& owners = s.page[page_of(p.r)].owners;
  u16 bit = 1 << (p.owner & 15);
  if (owners & bit) return false;
  result = OFF;
  if (p.buffered) return true;
  result = RAN;
  if (has(kNamedStored)) {
    if (!p.alarm) {
      p.due = owners, p.alarm = 1;
      say("touch: the owners of page %d are %x", page_of(p.r), owners);
      return true;
    }
    owners = p.due | bit;
    p.due = p.alarm = 0;
  } else owners |= bit;
  if (!has(kNamedEarly)) landed(s, page_of(p.r), gen_of(p.r), "an owner's bit was set in a page in another life");
  say("touch: slot %d names itself in page %d", p.owner, page_of(p.r));
  return true;
}
