// Parked names: their words, and the two sections that lead there and back.
#include <algorithm>

#include "directory_inside.h"

namespace headpond::internal {

// ------------------------------------------------------------------------------------------------------------------- slots

/// A chain of slots goes to the free list. Journal: 2 records.
void Directory::give_slots(Section& section, std::uint32_t first) {
  Header& header = segment_.header();
  std::vector<std::uint32_t> chain = chain_of(first);
  if (chain.empty()) return;
  section.set(segment_.slot(chain.back() - 1).chain, pair(0, get(header.slot_free)));
  section.set(header.slot_free, chain.front());
}

/// The slots of parked words; no more than these can have.
std::vector<std::uint32_t> Directory::chain_of(std::uint32_t first) const {
  std::vector<std::uint32_t> out;
  for (std::uint32_t at = first; at && at <= slots() && out.size() < parked_slots_for(kLanes);
       at = high(get(segment_.slot(at - 1).chain)))
    out.push_back(at);
  return out;
}

Status Directory::keep_slots(Binding stream, std::size_t lanes) {
  for (int tries = 0; tries < 100; tries++) {
    if (Status room = make_room(0); !room) return room;
    auto section = Section::enter(me_, kDirectorySection);
    if (!section) return section.status();
    StreamWords& words = segment_.stream(stream.index());
    std::uint64_t state = words.state.load(std::memory_order_acquire);
    if (state >> 28 != stream.generation() || state_of(words) != StreamState::live)
      return section->leave(), Status(Code::not_found);
    std::vector<std::uint32_t> kept = chain_of(static_cast<std::uint32_t>(get(words.parked_slots)));
    std::uint32_t need = parked_slots_for(lanes);
    if (kept.size() >= need) return section->leave(), Status();
    auto more = take_slots(*section, need - static_cast<std::uint32_t>(kept.size()));
    if (more.empty()) {
      if (segment_.reserved(Table::slots) == segment_.capacity(Table::slots))
        return {Code::full, "pond " + me_.pond->name() + ": its directory is full"};
      continue;
    }
    if (kept.empty())
      section->set(words.parked_slots, more.front());
    else
      section->set(segment_.slot(kept.back() - 1).chain, pair(0, more.front()));
    section->leave();
    return {};
  }
  return {Code::busy, "pond " + me_.pond->name() + ": its directory changes all the time; try again"};
}

// -------------------------------------------------------------------------------------------------------------------- words

namespace {

Word* words_in(SlotWords& slot) { return reinterpret_cast<Word*>(&slot) + 1; }

/// Calls at(lane's number, its words) for each lane that has a place in these slots.
template <class Each>
void for_each_place(Segment& segment, const std::vector<std::uint32_t>& slots, std::size_t lanes, Each each) {
  for (std::size_t n = 0; n < lanes; n++) {
    std::size_t slot = n == 0 ? 0 : 1 + (n - 1) / kParkedLanesASlot;
    if (slot >= slots.size()) return;
    each(n, words_in(segment.slot(slots[slot] - 1)) +
                (n == 0 ? kParkedHead : (n - 1) % kParkedLanesASlot * kParkedLane));
  }
}

constexpr std::uint64_t kIdBits = (1ULL << 60) - 1;

}  // namespace

Parked Directory::read_parked(Binding stream) const {
  Parked out;
  std::vector<std::uint32_t> slots = chain_of(stream.slot());
  if (slots.empty()) return out;
  const Word* head = words_in(segment_.slot(slots[0] - 1));
  out.id = get(head[0]), out.first_id = std::max<std::uint64_t>(get(head[1]), 1);
  out.policy = low(get(head[2])), out.max_attempts = high(get(head[2]));
  out.lease_us = get(head[3]), out.max_items = get(head[4]), out.max_bytes = get(head[5]);
  out.trimmed = get(head[6]), out.last_use = get(head[7]);
  out.mask = get(head[8]) & 0xffff;
  for_each_place(
      segment_, slots, std::min<std::size_t>(get(head[8]) >> 16 & 0xff, kLanes),
      [&](std::size_t, const Word* at) {
        std::uint64_t first = get(at[0]);
        ParkedLane lane{static_cast<int>(first >> 60), first & kIdBits, get(at[1]), get(at[2]), get(at[3])};
        if (lane.number < kLanes && (out.lanes.empty() || out.lanes.back().number < lane.number))
          out.lanes.push_back(lane);
      });
  return out;
}

/// Plain stores: nobody looks there yet.
void Directory::write_parked(std::uint32_t first, const Parked& from) {
  std::vector<std::uint32_t> slots = chain_of(first);
  Word* head = words_in(segment_.slot(slots[0] - 1));
  auto put = [](Word& word, std::uint64_t value) { word.store(value, std::memory_order_relaxed); };
  put(head[0], from.id), put(head[1], from.first_id), put(head[2], pair(from.policy, from.max_attempts));
  put(head[3], from.lease_us), put(head[4], from.max_items), put(head[5], from.max_bytes);
  put(head[6], from.trimmed), put(head[7], from.last_use);
  put(head[8], from.mask | static_cast<std::uint64_t>(from.lanes.size()) << 16);
  for_each_place(segment_, slots, from.lanes.size(), [&](std::size_t n, Word* at) {
    const ParkedLane& lane = from.lanes[n];
    put(at[0], static_cast<std::uint64_t>(lane.number) << 60 | lane.first), put(at[1], lane.next);
    put(at[2], lane.items), put(at[3], lane.bytes);
  });
}

// ------------------------------------------------------------------------------------------------------------- park, unpark

Result<bool> Directory::park(Binding stream, const std::vector<ParkedLane>& lanes) {
  auto section = Section::enter(me_, kDirectorySection);
  if (!section) return section.status();
  StreamWords& words = segment_.stream(stream.index());
  std::uint64_t state = words.state.load(std::memory_order_acquire), at = get(words.entry);
  if (state >> 28 != stream.generation() || state_of(words) != StreamState::live || !at || at > slots() ||
      get(segment_.slot(static_cast<std::uint32_t>(at - 1)).value) != stream.raw)
    return section->leave(), false;
  auto kept = static_cast<std::uint32_t>(get(words.parked_slots));
  if (chain_of(kept).size() < parked_slots_for(lanes.size()))
    return Status(Code::corruption, "pond " + me_.pond->name() + ": stream " +
                                        std::to_string(stream.index()) +
                                        " is half parked and has no slots for its words; `headpond verify` "
                                        "shows more");
  Parked out;
  out.id = get(words.id), out.first_id = get(words.first_id);
  out.policy = words.policy.load(), out.max_attempts = words.max_attempts.load();
  out.lease_us = get(words.lease_us), out.max_items = get(words.max_items),
  out.max_bytes = get(words.max_bytes);
  out.trimmed = get(words.trimmed), out.last_use = get(words.last_use), out.mask = words.lanes.load();
  out.lanes = lanes;
  write_parked(kept, out);
  section->set(segment_.slot(static_cast<std::uint32_t>(at - 1)).value, Binding::parked(kept).raw);
  section->set(words.parked_slots, 0);
  if (!section->exchange(words.state, state,
                         (state & ~0xffULL) | static_cast<std::uint64_t>(StreamState::parked)))
    return false;  // a clear has begun just now: undone
  section->leave();
  return true;
}

Result<Parked> Directory::parked(const Key& key) {
  return with_entry(key, [&](Section& section, std::uint32_t at) -> Result<Parked> {
    Binding value{at ? get(segment_.slot(at - 1).value) : 0};
    bool there = at && value.is_parked();
    if (!there || !in_table(value))
      return section.leave(), there ? damaged_entry(value) : Status(Code::not_found);
    Parked out = read_parked(value);
    section.leave();
    return out;
  });
}

Result<Binding> Directory::unpark(const Key& key, const Link& link) {
  for (int tries = 0; tries < 100; tries++) {
    if (Status room = make_room(0); !room) return room;
    bool grow = false;
    auto done = with_entry(key, [&](Section& section, std::uint32_t at) -> Result<Binding> {
      Binding value{at ? get(segment_.slot(at - 1).value) : 0};
      if (!at || !value.is_parked() || value.ending() || !in_table(value)) return section.leave(), Code::busy;
      auto index = pick_descriptor();
      if (!index) return grow = index.code() == Code::busy, index.status();
      Parked parked = read_parked(value);
      StreamWords& words = segment_.stream(*index);
      std::uint64_t generation = blank(words, at, parked.first_id);
      auto put = [](auto& word, auto from) {
        word.store(static_cast<decltype(word.load())>(from), std::memory_order_relaxed);
      };
      put(words.policy, parked.policy), put(words.max_attempts, parked.max_attempts);
      put(words.lease_us, parked.lease_us), put(words.max_items, parked.max_items);
      put(words.max_bytes, parked.max_bytes), put(words.trimmed, parked.trimmed);
      put(words.lanes, parked.mask | 1), put(words.id, parked.id);
      me_.pond->touch(*index);
      if (!link(section, parked, words, *index)) return Code::busy;  // undone: the section is not left
      section.set(words.parked_slots, value.slot());
      name_it(section, *index, key.kind, at);
      section.leave();
      return Binding::make(*index, generation);
    });
    if (!grow) return done;
  }
  return Status(Code::busy);
}

// -------------------------------------------------------------------------------------------------------------------- clear

Result<Parked> Directory::end_parked(const Key& key, std::optional<std::uint64_t> if_last_used) {
  return with_entry(key, [&](Section& section, std::uint32_t at) -> Result<Parked> {
    Binding value{at ? get(segment_.slot(at - 1).value) : 0};
    if (!at || !value.is_parked() || !in_table(value)) return section.leave(), Code::busy;
    Parked out = read_parked(value);
    if (if_last_used && out.last_use != *if_last_used) return section.leave(), Code::busy;
    // Past the journal: from here nobody goes back, whoever dies.
    segment_.slot(at - 1).value.store(value.with_ending().raw, std::memory_order_release);
    section.leave();
    return out;
  });
}

Status Directory::retire_parked(const Key& key, const Parked& ended, bool keep_name) {
  auto done = with_entry(key, [&](Section& section, std::uint32_t at) -> Result<bool> {
    Binding value{at ? get(segment_.slot(at - 1).value) : 0};
    if (!at || !value.is_parked() || !value.ending() || !in_table(value)) return section.leave(), true;
    Parked was = read_parked(value);
    if (was.id != ended.id || was.first_id != ended.first_id || was.last_use != ended.last_use)
      return section.leave(), true;  // another life of the name, which somebody else ends
    SlotWords& entry = segment_.slot(at - 1);
    // The floor first, and never undone: it only rises, so that no id comes twice whoever dies here.
    Word& floor = segment_.floor(static_cast<std::uint32_t>(get(entry.hash) % kFloors));
    for (std::uint64_t now = floor.load(), next = was.next_id();
         now < next && !floor.compare_exchange_weak(now, next);) {
    }
    if (keep_name) {  // the words change under the journal: a death leaves the old ones
      Word* head = words_in(segment_.slot(value.slot() - 1));
      section.set(head[0], 0), section.set(head[1], was.next_id());
      if (key.kind == Kind::log) section.set(head[6], was.next_id());
      section.set(head[7], sys::coarse_us()), section.set(head[8], 1);
      section.set(entry.value, Binding::parked(value.slot()).raw);
    } else {
      unlink_entry(section, at);
    }
    section.leave();
    return true;
  });
  return done.status();
}

// --------------------------------------------------------------------------------------------------------------------- looks

Result<bool> Directory::has_stream(const Key& key, std::uint64_t id) {
  return with_entry(key, [&](Section& section, std::uint32_t at) -> Result<bool> {
    Binding value{at ? get(segment_.slot(at - 1).value) : 0};
    bool has =
        at && in_table(value) &&
        (value.is_parked() ? read_parked(value).id == id : get(segment_.stream(value.index()).id) == id);
    section.leave();
    return has;
  });
}

Status Directory::set_parked_policy(const Key& key, std::uint32_t set, std::uint32_t clear) {
  auto done = with_entry(key, [&](Section& section, std::uint32_t at) -> Result<bool> {
    Binding value{at ? get(segment_.slot(at - 1).value) : 0};
    if (!at || !value.is_parked() || !in_table(value)) return section.leave(), Code::not_found;
    set_parked(section, value, set, clear);
    section.leave();
    return true;
  });
  return done.status();
}

void Directory::set_parked(Section& section, Binding parked, std::uint32_t set, std::uint32_t clear) {
  Word& word = words_in(segment_.slot(parked.slot() - 1))[2];
  section.set(word, pair((low(get(word)) | set) & ~clear, high(get(word))));
}

std::uint32_t Directory::parked_policy(Binding parked) const {
  return low(get(words_in(segment_.slot(parked.slot() - 1))[2]));
}

/// In the section.
bool Directory::log_is_gone(const Key& cursor, std::optional<std::uint64_t> last_used) const {
  const Key log = cursor.log_key();
  std::string bytes = log.encoded();
  std::uint32_t at = locate(log, bytes, hash_of(bytes));
  if (!at) return true;
  Binding value{get(segment_.slot(at - 1).value)};
  return last_used && value.is_parked() && value.ending() && in_table(value) &&
         read_parked(value).last_use == *last_used;
}

Result<bool> Directory::is_orphan(const Key& cursor, std::optional<std::uint64_t> log_last_used) {
  return with_entry(cursor, [&](Section& section, std::uint32_t at) -> Result<bool> {
    bool is = at && log_is_gone(cursor, log_last_used);
    section.leave();
    return is;
  });
}

Status Directory::erase_orphan(const Key& cursor, std::optional<std::uint64_t> log_last_used) {
  return with_entry(cursor, [&](Section& section, std::uint32_t at) -> Status {
    if (at && log_is_gone(cursor, log_last_used)) unlink_entry(section, at);
    section.leave();
    return {};
  });
}

}  // namespace headpond::internal
