// The machine under the protocol: memory with x86 store buffers, page lives, ghosts and the checks made in every step.
#pragma once
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "bugs.h"

struct Scenario {
  const char* name;
  int pages, slots, preload;  // slots: words a page, the last of them kept for SEAL; preload: READY records at the start
  std::vector<std::string> script;
  int kills;
  bool log;
  const char* what;
  int stops = 0;         // processes that may stop for ever (for the checks of the end)
  bool cursors = false;  // claimers keep a private cursor in stream A
  int lanes = 0;         // 0: streams A and B are just there; else names lead through the directory to descriptors with so many lanes
  int descriptors = 2;
  bool allocator = false;      // pages are allocated and freed in the allocator's section, not in one step
  const char* due = nullptr;   // the due time of each item: stream B is a lane of delayed items, both lanes share A's bell
  const char* late = nullptr;  // its pages at the start, with one item each: . spent, o in memory, r a row in a gap, _ the tail; the items come first
  bool touch = false;          // sets of streams and owners
  int limit = 0;               // a record with so many claims is buried in stream B, with its cause of death
  bool order = false;          // claims look back at what they have passed, and their order is checked
  bool gaps = false;           // a claim that meets a gap refills it and begins again
  const char* rows = nullptr;  // a rebuilt stream: the ids of rows with one record each, then the first id of the tail
  bool sole = false;           // claims with a hold pin (k) are sole
};

enum { OFF, RAN };  // a step that cannot run now leaves the state alone

class Model {
 public:
  Scenario sc;
  Bugs bugs;
  int procs = 0;
  const char* bad = nullptr;  // the violation found by the last step
  bool more = false;          // the step has further choices
  int pick = 0;               // the choice to take
  bool trace = false;
  std::string note;

  Model(const Scenario& scenario, Bugs bug_set) : sc(scenario), bugs(bug_set), procs(scenario.script.size()) {}
  State initial();
  void rebuilt(State& s);
  void lay_delayed(State& s);
  int step(State& s, int me, char op);
  int named(State& s, int me, char op);
  int operate(State& s, int me, char op, int k);
  void kill(State& s, int me);
  void drain_one(State& s, Proc& p);
  void solo_kill(State s);
  void solo_stop(State s);
  void solo_named(State s);
  void solo_cursor(State s, int who);
  bool ready_left(State& s, u16 items = 0xffff, int streams = kStreams, int due_at = kForever);
  bool sleeps_past(const State& s) const;
  u16 readable(State s);
  const char* sleeps_beside(State& s, int who);
  void scan_alone(State& s);
  bool ready_spilled(State& s);
  bool all_reaped(const State& s) const {
    for (int d = 1; d < kMaxOwners; d++)
      if (slot_dead(s, d)) return false;
    return true;
  }
  size_t used() const { return sizeof(State) - sizeof(Proc) * (kMaxProcs + 1 - procs); }  // the rest is 0 between steps

 private:
  std::vector<std::vector<int>> first_item_;           // of each operation of each script
  std::vector<int> stream_of_ = std::vector<int>(16);  // of each item
  bool waits_ = false;                                 // there are waiters
  u16 items_of(u16 items, int name) const {
    for (int i = 0; i < kMaxItems; i++)
      if (sc.lanes == 1 && stream_of_[i] != name) items &= ~(1 << i);
    return items;
  }
  int generation_ = 0;  // of the step's handle
  int capital_ = 0;     // the step's operation works on stream (name, lane) B
  u16 pairs_ = 0;       // the first items of batches in a page of their own

  bool has(const Bugs& bug) const { return bugs.meets(bug); }
  void fail(const char* what) {
    if (!bad) bad = what;
  }
  template <class... T>
  void say(const char* f, T... a) {
    if (!trace) return;
    char text[200];
    if constexpr (sizeof...(a) == 0) snprintf(text, sizeof text, "%s", f);
    else snprintf(text, sizeof text, f, a...);
    note += (note.empty() ? "" : "; ") + std::string(text);
  }
  template <class... T>
  int go(Proc& p, int pc, const char* f, T... a) {
    p.pc = pc;
    say(f, a...);
    return RAN;
  }

  // ---- memory
  static Page& page_at(State& s, int page) {
    if (page >= kMaxPages) abort();
    return s.page[page];
  }
  static u8& owner_slot(u8 (&slots)[kMaxOwners], int slot) {
    if (slot >= kMaxOwners) abort();
    return slots[slot];
  }
  u32 memory(State& s, u8 a) {
    if (a < A_HOLD) return owner_slot(s.pin, a);
    if (a < A_TAIL) return owner_slot(s.hold, a - A_HOLD);
    if (a >= A_SOURCE) return page_at(s, (a - A_SOURCE) >> 3).source[a & 7];
    if (a >= A_WORD) return page_at(s, (a - A_WORD) >> 3).word[a & 7];
    if ((a & 0xfc) == A_REWIND) return s.stream[a & 3].rewind;
    return half(s, a);
  }
  u16& half(State& s, u8 a) {
    if (a == A_BITS) return s.bits;
    switch (a & 0xf8) {
      case A_SIZE:
        if ((a & 7) < kMaxPages) return s.size[a & 7];
        abort();
      case A_TAIL: return page_at(s, a & 7).tail;
      case A_HEAD: return page_at(s, a & 7).head;
      case A_NEXT: return page_at(s, a & 7).next;
      case A_LIFE: return page_at(s, a & 7).life;
      case A_GAP: return page_at(s, a & 7).gap_word;
      case A_FRONT: return page_at(s, a & 7).front_of;
    }
    switch (a & 0xfc) {
      case A_TAILP: return s.stream[a & 3].tailp;
      case A_HEADP: return s.stream[a & 3].headp;
      case A_FIRST: return s.stream[a & 3].first;
      case A_ENTRY: return s.entry[a & 1];
      case A_FLOOR: return s.floor[a & 1];
      case A_DESC: return s.desc[a & 3];
    }
    abort();
  }
  static u8 word_at(u16 r, int off) { return A_WORD + page_of(r) * 8 + off; }
  static u8 source_at(u16 r, int off) { return A_SOURCE + page_of(r) * 8 + off; }
  u32 load(State& s, Proc& p, u8 a) {
    for (int i = p.buffered - 1; i >= 0; i--)
      if (p.buffer[i].addr == a) return p.buffer[i].value;
    return memory(s, a);
  }
  static bool room(const Proc& p) { return p.buffered < 4; }
  void store(Proc& p, u8 a, u32 value, u16 of = 0) { p.buffer[p.buffered++] = Buffered{a, (u8)gen_of(of), {}, value}; }
  void drain(State& s, Proc& p) {
    while (p.buffered) drain_one(s, p);
  }
  // A write reached a page: its process believes that this is life `gen`.
  void landed(State& s, int page, int gen, const char* what) {
    u16 l = s.page[page].life;
    if (life_gen(l) != gen || life_state(l) == PFREE || life_state(l) == ZEROING) fail(what);
  }
  bool cas_word(State& s, u16 r, int off, u32 expected, u32 value) {
    u32& w = s.page[page_of(r)].word[off];
    if ((w ^ expected) & ~kItemBits) return false;  // the payload is no part of the word
    landed(s, page_of(r), gen_of(r), "a compare-exchange succeeded on a page in another life");
    w = state_of(expected) == FREE ? value : (value & ~kItemBits) | (w & kItemBits);
    return true;
  }
  static bool cas_lease(State& s, u16 r, int off, u16 expected, u16 value) {
    u16& l = s.page[page_of(r)].lease[off];
    if (l != expected) return false;
    l = value;
    return true;
  }
  static int deadline(const State& s, int time) { return s.now + time < kForever ? s.now + time : kForever; }
  static bool cas_life(State& s, u16 r, int from, int from_owner, int to, int to_owner) {
    u16& l = s.page[page_of(r)].life;
    if (l != life(gen_of(r), from, from_owner)) return false;
    l = life(gen_of(r), to, to_owner);
    return true;
  }
  // Is the (pinned) page still in the life that the reference names?
  bool valid(State& s, u16 r) {
    int g = life_gen(s.page[page_of(r)].life), k = life_state(s.page[page_of(r)].life);
    if (has(kRefNoGen)) return k == LINKED || k == BUILDING;
    return g == gen_of(r) && (k == LINKED || k == BUILDING || k == PSPILLING || (has(kGenLate) && (k == LIMBO || k == RETIRED)));
  }
  int capacity() const { return sc.slots - 1; }
  u32 ids_of(u32 w) const { return has(kSpanCountsOne) && (state_of(w) == WRITING || state_of(w) == DONE) ? 1 : size_of(w); }

  // ---- stepping
  void reset(Proc& p, int pc);  // forgets the locals, keeps identity, claim, reader's memory, store buffer
  void finish(Proc& p) {
    reset(p, 0);
    p.begun = 0, p.before = 0;
    p.op++;
  }
  // Steps of many operations (pc.h); %d in a text is the page, or the process.
  int pin(Proc& p, u16 r, int pc, const char* text);
  int unpin(Proc& p, int pc, const char* text);
  int unpin_and_finish(Proc& p, const char* text);
  int membarrier(State& s, Proc& p, int me, int pc, const char* text);
  bool holds(char o) const { return o == 'k' ? !has(kNoHoldPin) : (o == 'd' || o == 'j') && !has(kMoveNoHold); }  // keeps the page of its claim
  void drop_claim(Proc& p) {
    p.held = p.expired = p.toff = p.until = 0;
    p.tr = 0;
    p.tw = 0;
  }
  bool slot_dead(const State& s, int slot) const;
  bool enter(State& s, Section& t, int me);  // robust mutex; false: held by a live one
  void undo_one(State& s, Section& t);
  // The undo journal. A word that only sections change is set at once; a word that others compare-exchange is logged, then
  // compare-exchanged, and undone only if it still has the value that the section gave it.
  void log(State& s, Section& t, u8 a, u16 old, u16 now) {
    int named = (a & 0xf8) == A_LIFE ? life_owner(old) : 0;  // undoing must not bring back the name of one reaped meanwhile
    if (named && named != s.p[t.mutex - 1].owner) fail("a journaled word names another participant than the section's holder");
    t.journal[t.entries++] = Undo{a, 0, old, now};
  }
  void journal(State& s, Section& t, u8 a, u16 v) { log(s, t, a, half(s, a), v), half(s, a) = v; }
  void commit(Section& t) {
    t.entries = 0;
    memset(t.journal, 0, sizeof t.journal);
  }

  // ---- ghosts
  void claimed(State& s, Proc& p, u32 w, int stream);
  void fenced(Proc& p) {
    if (!p.expired) fail("an ack or nack of a live, unexpired claim was fenced");
  }
  void identify(State& s, int item, int id, int stream, const char* what);
  int sealed_count(const State& s, int page) const;
  bool all_done(const State& s, int page) const;
  bool contiguous(const State& s, int page) const {
    u16 n = target(s.page[page].next);
    return n && s.page[page_of(n)].first_seq == s.page[page].first_seq + sealed_count(s, page);
  }
  bool half_there(u16 items) const { return ((items ^ items >> 1) & pairs_) != 0; }
  bool raises(int k, Bugs quiet) const { return sc.cursors && !k && !has(quiet); }  // the stream's epoch
  bool named(const State& s, int page) const {                                      // does the directory lead to it?
    if (!sc.lanes) return true;
    int d = s.page[page].stream / sc.lanes;
    u16 h = handle(d, life_gen(s.desc[d]));
    return s.entry[0] == h || s.entry[1] == h;
  }
  int streams() const { return sc.lanes ? sc.lanes * sc.descriptors : 2; }
  void forget_cursor(State& s, Proc& p, int from) {  // without further claims
    int me = &p - s.p;
    if (sc.cursors && me < procs && sc.script[me].find_first_of("cnhikdjwqv^", from) == std::string::npos) p.cursor = p.cursor_epoch = 0;
  }
  Row* find_row(State& s, int seq) {
    for (Row& r : s.row)
      if (r.count && r.first_seq == seq) return &r;
    return nullptr;
  }
  Row* row_after(State& s, int k, int seq, int end);
  // Of a gap of delayed items. A refill in its middle says of both parts in the page that it puts there.
  u16 word_of_gap(const State& s, u16 before, u16 behind) const {
    const Page& g = s.page[page_of(behind)];
    return g.front_of == before ? g.front_word : s.page[page_of(before)].gap_word;
  }
  u16 word_of(const u32* words) const {
    u16 all = 0;
    for (int off = 0; off < sc.slots; off += size_of(words[off])) {
      if (state_of(words[off]) == SEAL || !size_of(words[off])) break;
      if (state_of(words[off]) == READY) all = gaps_of(all, gap_word(due_of(rec(words[off]).item), 1));
    }
    return all;
  }
  u16 word_of_rows(const State& s, int from, int to) const {
    u16 all = 0;
    for (const Row& row : s.row)
      if (row.count && row.first_seq >= from && row.first_seq < to) all = gaps_of(all, word_of(row.word));
    return all;
  }
  void check_gaps(const State&);
  bool due_in_gap(const State&) const;
  void delete_row(State& s, int first_seq);
  bool moves() const {
    for (const std::string& script : sc.script)
      if (script.find_first_of("dDjJ*%@") != std::string::npos) return true;
    return false;
  }
  u16 predecessor(const State& s, int k, u16 r, bool& found) const;

  // ---- operations (operations.h)
  int due_of(u32 item) const { return sc.due && item < strlen(sc.due) ? sc.due[item] - '0' : 0; }
  bool delayed(int k) const { return sc.due && k; }
  Stream& bell_of(State& s, int k) const { return s.stream[sc.due ? 0 : k]; }
  int lower_due(State&, Proc&, int k, u32 item);
  int scan(State&, Proc&, int me, int k);
  void scan_on(Proc&);
  int scan_op(State&, Proc&, int me, int k);
  int wait_delayed(State&, Proc&, int me, bool quits);
  int follow(State&, Proc&, int me, int k);
  int read_on(State&, Proc&, int k);
  int trim(State&, Proc&, int me, int k);
  bool trimmed_away(const State&, const Proc&, int page) const;
  int reserve_op(State&, Proc&, int me, int k, bool commits);
  bool touch(State&, Proc&, int k, char o, int& result);
  int birth(State&, Proc&);
  int stamp_death(State&, Proc&);
  void check_cause(const State&, const Proc&);
  int push(State&, Proc&, int me, int k, int n);
  int own_page(State&, Proc&, int me, int k);
  int wake(State&, Proc&, int k);
  int claim(State&, Proc&, int k);
  int settle(State&, Proc&, int k, char o);
  int look_back(State&, Proc&, int k);
  int straight_pop(State&, Proc&, int k);
  int ack_sole(State&, Proc&, int k);
  void sweep_sole(State&, Proc&);
  void begin_order(const State&, Proc&) const;
  void pass(Proc&, u32 w) const;
  u16 ready_now(const State&, int stream) const;
  void check_order(State&, Proc&, int item, int stream);
  int claim_op(State&, Proc&, int k, char o);
  int ack_held(State&, Proc&, int k);
  int move(State&, Proc&, int me, int k, char o);
  int help(State&, Proc&, int k);
  bool committed(const State& s, u32 from, u32 owner) const {
    if (!from) return false;
    Rec r = rec(s.page[page_of(from & 0xffff)].word[from >> 16 & 7]);
    return r.state == DONE && (has(kMoveDoneBare) || (r.owner == owner && (r.claims == (from >> 19 & 7) || has(kMoveOwnerOnly))));
  }
  int wait_op(State&, Proc&, int me, int k, char o);
  int expire(State&, Proc&, int k);
  int begin_lease(State&, Proc&);
  int extend(State&, Proc&);
  int look_at_lease(State&, Proc&, int k);
  void returned_by_time(State&, u16 r, int off, u32 w);
  int read_log(State&, Proc&, int k);
  int maintain(State&, Proc&, int me);
  int leftovers(State&, Proc&, int k);
  int spill(State&, Proc&, int me, int k);
  int refill(State&, Proc&, int me, int k);
  int reap(State&, Proc&, int me);
  int attach(State&, Proc&);
  int drop(State&, Proc&, int k);
  int shrink(State&, Proc&, int me, int k);
  int allocate(State&, Proc&, int me);  // returns to p.ret
  int give_back(State&, Proc&, int me);
  int look_up(State&, Proc&, int me, int name, char o);
  int clear(State&, Proc&, int me, int name, char o);
  int sweep(State&, Proc&, int me, char o);
  int sweep_from() const;
  void erase_cleared(State&);
  bool tombed_chain(const State&, int k) const;
  void leave_memory(State&, u16 r, int off, u32 w, int k);
  int park(State&, Proc&, int me, int name, int k);
  int sweep_parked(State&, Proc&, int me, int k);
  int unpark(State&, Proc&, int me, int name, char o);
  int free_descriptor(State&, Proc&, int me);
  int look_again(Proc& p, const char* why);  // the handle is out of date, or a tomb was met
  // Is the page, pinned and valid, of the generation that the handle names, and is nobody clearing it? Its stream need not be compared: a word of a lane only ever
  // names pages of that lane.
  bool of_handle(const State& s, const Proc& p, int k) {
    if (s.page[page_of(p.r)].stream != k) fail("a lane names a page of another");
    return usable(s.desc[k / sc.lanes]);
  }
  bool usable(u16 word) const {
    if (!has(kClearUnannounced)) return word == life(generation_, DLIVE, 0);
    return life_gen(word) == generation_ && life_state(word) != DFREE;
  }
  void ended(State& s, u32 w);  // a clear made a record DONE
  bool alone(State& s, char op);
  void clear_alone(State& s, int name);
  void none_left(State& s);
  void check_rebuild(const State& s);
  void join(State& s);
  void drain_alone(State& s);
};

inline void Model::reset(Proc& p, int pc) {
  Proc o = p;
  memset(&p, 0, sizeof p);
  p.alive = o.alive, p.owner = o.owner, p.pinslot = o.pinslot, p.op = o.op, p.pc = pc;
  p.held = o.held, p.expired = o.expired, p.toff = o.toff, p.tr = o.tr, p.tw = o.tw;
  p.after = o.after, p.place = o.place;
  p.begun = o.begun, p.before = o.before;
  memcpy(p.handle, o.handle, sizeof p.handle);
  p.cursor = o.cursor, p.cursor_epoch = o.cursor_epoch, p.until = o.until, p.seen = o.seen, p.top = o.top, p.buffered = o.buffered;
  memcpy(p.buffer, o.buffer, sizeof p.buffer);
}
inline void Model::drain_one(State& s, Proc& p) {
  Buffered b = p.buffer[0];
  for (int i = 1; i < p.buffered; i++) p.buffer[i - 1] = p.buffer[i];
  p.buffer[--p.buffered] = Buffered{};
  say("(store buffer drains: address %02x = %x)", b.addr, b.value);
  int page = b.addr >= A_WORD ? ((b.addr - A_WORD) & 63) >> 3 : (b.addr & 0xf8) == A_TAIL || (b.addr & 0xf8) == A_HEAD ? b.addr & 7 : -1;
  if (page >= 0) landed(s, page, b.gen, "a plain store landed on a page in another life");
  if (b.addr < A_HOLD) owner_slot(s.pin, b.addr) = b.value;
  else if (b.addr < A_TAIL) owner_slot(s.hold, b.addr - A_HOLD) = b.value;
  else if (b.addr >= A_SOURCE) page_at(s, page).source[b.addr & 7] = b.value;
  else if (b.addr >= A_WORD) page_at(s, page).word[b.addr & 7] = b.value;
  else if ((b.addr & 0xfc) == A_REWIND) s.stream[b.addr & 3].rewind = b.value;
  else half(s, b.addr) = b.value;
}
inline bool Model::slot_dead(const State& s, int slot) const {
  if (!s.part[slot]) return false;
  for (int i = 0; i <= procs; i++)
    if (s.p[i].alive && s.p[i].owner == slot) return false;
  return true;
}
inline void Model::claimed(State& s, Proc& p, u32 w, int stream) {
  int item = rec(w).item;
  if (item == kNoPayload) return fail("a record without its payload was claimed");
  if (s.acked >> item & 1) fail("an item was claimed again after its ack");
  if (s.swept >> item & 1) fail("an item was claimed after a clear had ended it");
  if (sc.order) check_order(s, p, item, stream);
  if (sc.lanes) stream = capital_;
  if ((stream_of_[item] ^ (s.moved >> item & 1)) != stream && !s.stream[0].dropped) fail("an item of another stream was claimed");
  for (int i = 0; i <= procs; i++)
    if (&s.p[i] != &p && s.p[i].alive && s.p[i].held && !s.p[i].expired && (int)rec(s.p[i].tw).item == item) fail("two live owners");
}
inline void Model::identify(State& s, int item, int id, int stream, const char* what) {
  if (s.seq_of[item] && s.seq_of[item] != id) fail(what);
  s.seq_of[item] = id;
  if (sc.lanes) stream = stream_of_[item];
  for (int j = 0; j < kMaxItems; j++)
    if (j != item && s.seq_of[j] == id && stream_of_[j] == stream) fail("two records have the same id");
}
inline int Model::sealed_count(const State& s, int page) const {
  for (int off = 0; off < sc.slots;) {
    u32 w = s.page[page].word[off];
    if (state_of(w) == SEAL) return rec(w).item;
    if (!size_of(w)) break;
    off += size_of(w);
  }
  return -1;
}
inline bool Model::all_done(const State& s, int page) const {
  for (int off = 0; off < sc.slots; off += size_of(s.page[page].word[off])) {
    u32 w = s.page[page].word[off];
    if (state_of(w) != DONE) return state_of(w) == SEAL;
  }
  return false;
}
inline u16 Model::predecessor(const State& s, int k, u16 r, bool& found) const {
  u16 before = 0;
  found = false;
  for (u16 x = target(s.stream[k].first); x; before = x, x = target(s.page[page_of(x)].next))
    if (x == r) {
      found = true;
      break;
    }
  return before;
}
inline void Model::kill(State& s, int me) {
  Proc& p = s.p[me];
  drain(s, p);  // the kernel is entered before a death shows
  if (p.held && !p.expired) s.deaths[rec(p.tw).item]++;
  if (p.held && sc.limit) s.died[rec(p.tw).item] |= 1 << rec(p.tw).claims;
  for (u8& lock : s.reaplock)
    if (lock == me + 1) lock = 0;
  if (sc.lanes && p.begun && sc.script[me][p.op] == '!') s.open[0]--;  // pushes that begin from now on must not be lost
  for (Stream& t : s.stream) t.sleepers &= ~(1 << me);
  u8 owner = p.owner, pinslot = p.pinslot;
  memset(&p, 0, sizeof p);
  p.owner = owner, p.pinslot = pinslot;
}
