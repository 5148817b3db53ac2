// A descriptor's life: made for a name, retired from it, freed.
#include <algorithm>

#include "directory_inside.h"

namespace headpond::internal {

/// A FREE descriptor, if there is one. `busy`: the table must grow first.
Result<std::uint32_t> Directory::pick_descriptor() {
  Header& header = segment_.header();
  std::uint64_t used = std::min(get(header.descriptors_used), segment_.reserved(Table::streams));
  std::uint32_t index = static_cast<std::uint32_t>(get(header.descriptor_hint));
  while (index < used && state_of(segment_.stream(index)) != StreamState::free) index++;
  if (index >= segment_.capacity(Table::streams))
    return Status(Code::full, "pond " + me_.pond->name() + ": all " + std::to_string(index) +
                                  " streams are taken; a larger limit_bytes gives more");
  if (index >= segment_.reserved(Table::streams)) return Code::busy;
  return index;
}

/// FREE: nobody reads it but late hands of an earlier life, whom the generation turns away. So these are plain stores. The generation is this
/// attempt's own: whoever has seen one that was undone does not take the next for it.
std::uint64_t Directory::blank(StreamWords& stream, std::uint32_t entry, std::uint64_t first_id) {
  const std::uint64_t generation = (get(stream.state) >> 28) + 1;
  stream.state.store(state_word(generation, Kind::none, StreamState::free), std::memory_order_release);
  auto set = [](auto& word, auto value) {
    word.store(static_cast<decltype(word.load())>(value), std::memory_order_relaxed);
  };
  set(stream.first_id, std::max<std::uint64_t>(first_id, 1));
  set(stream.trimmed, 0), set(stream.due, 0), set(stream.used, 0), set(stream.lanes, 1);
  set(stream.last_use, sys::coarse_us());
  set(stream.entry, entry), set(stream.id, 0), set(stream.parked_slots, 0);
  for (LaneWords& lane : stream.lane) {
    set(lane.tail, 0), set(lane.dense_from, 0), set(lane.rows_gone, 0);
    lane.first.store(Reference::empty(generation).raw, std::memory_order_release);
  }
  return generation;
}

/// LIVE and named by that entry, once the section is left. Journal: 4 records.
void Directory::name_it(Section& section, std::uint32_t index, Kind kind, std::uint32_t entry) {
  Header& header = segment_.header();
  StreamWords& stream = segment_.stream(index);
  const std::uint64_t generation = get(stream.state) >> 28;
  if (index >= get(header.descriptors_used)) section.set(header.descriptors_used, index + 1);
  section.set(header.descriptor_hint, index + 1);
  section.set(segment_.slot(entry - 1).value, Binding::make(index, generation).raw);
  section.set(stream.state, state_word(generation, kind, StreamState::live));
}

/// A descriptor, LIVE, empty and named by that entry; governed like `like`, or as the creator chose. `busy`: its table must grow first.
Result<Binding> Directory::new_stream(Section& section, Kind kind, std::uint32_t entry,
                                      std::uint64_t first_id, const StreamWords* like,
                                      std::uint32_t scope_policy) {
  Header& header = segment_.header();
  auto index = pick_descriptor();
  if (!index) return index.status();
  StreamWords& stream = segment_.stream(*index);
  std::uint64_t generation = blank(stream, entry, first_id);
  auto set = [](auto& word, auto value) {
    word.store(static_cast<decltype(word.load())>(value), std::memory_order_relaxed);
  };
  bool queue = kind == Kind::queue;
  std::uint32_t policy = scope_policy;
  if (header.default_lease_us) policy |= kLeased;
  if (header.default_max_attempts) policy |= kAttemptsLimited;
  if (header.default_max_items || header.default_max_bytes) policy |= kLimited;
  set(stream.policy, like ? like->policy.load() : queue ? policy : scope_policy & kNotInMemory);
  set(stream.max_attempts, like ? like->max_attempts.load() : queue ? header.default_max_attempts : 0);
  set(stream.lease_us, like ? get(like->lease_us) : queue ? header.default_lease_us : 0);
  set(stream.max_items, like ? get(like->max_items) : queue ? header.default_max_items : 0);
  set(stream.max_bytes, like ? get(like->max_bytes) : queue ? header.default_max_bytes : 0);
  // what was cleared is trimmed, and that never goes back
  set(stream.trimmed, like && !queue ? first_id : 0);
  name_it(section, *index, kind, entry);
  return Binding::make(*index, generation);
}

Status Directory::retire(Binding stream, std::uint64_t next_id, bool keep_name) {
  for (int tries = 0; tries < 100; tries++) {
    const bool room = make_room(0).ok();
    auto section = Section::enter(me_, kDirectorySection);
    if (!section) return section.status();
    StreamWords& words = segment_.stream(stream.index());
    std::uint64_t state = words.state.load(std::memory_order_acquire);
    // done by another
    if (state >> 28 != stream.generation() || state_of(words) != StreamState::clearing)
      return section->leave(), Status{};
    auto kind = static_cast<Kind>(state >> 8 & 0xff);
    std::uint32_t at = static_cast<std::uint32_t>(get(words.entry));
    if (at && at <= slots() && get(segment_.slot(at - 1).value) == stream.raw) {
      // The floor first, and never undone: it only rises, so that no id comes twice whoever dies here.
      Word& floor = segment_.floor(static_cast<std::uint32_t>(get(segment_.slot(at - 1).hash) % kFloors));
      for (std::uint64_t now = floor.load(); now < next_id && !floor.compare_exchange_weak(now, next_id);) {
      }
      // What a dying process unlinked of a TOMBED stream stays so, though its journal makes that CLEARING again: only the floor knows the ids.
      if (keep_name) {
        Result<Binding> next = Code::full;
        if (room) next = new_stream(*section, kind, at, get(floor), &words, 0);
        if (!next && next.code() == Code::busy) continue;
        if (!next) return section->leave(), Status(Code::full);
      } else {
        unlink_entry(*section, at);
      }
    }
    section->set(words.state, state_word(stream.generation(), kind, StreamState::tombed));
    section->leave();
    return {};
  }
  return Status(Code::busy, "pond " + me_.pond->name() + ": its directory changes all the time; try again");
}

Result<bool> Directory::is_settled(Binding stream, StreamState as) {
  auto section = Section::enter(me_, kDirectorySection);
  if (!section) return section.status();
  StreamWords& words = segment_.stream(stream.index());
  bool settled =
      words.state.load(std::memory_order_acquire) >> 28 == stream.generation() && state_of(words) == as;
  section->leave();
  return settled;
}

Result<bool> Directory::free_descriptor(Binding stream) {
  // In the stream's own section first: only there is it sure that no dead one's journal takes a tomb back.
  bool settled = true;
  {
    auto own = Section::try_enter(me_, stream_section(stream.index()));
    if (!own) return false;
    for (LaneWords& lane : segment_.stream(stream.index()).lane)
      settled = settled && Reference{lane.first.load(std::memory_order_acquire)}.is_tomb();
    own->leave();
  }
  auto section = Section::enter(me_, kDirectorySection);
  if (!section) return section.status();
  StreamWords& words = segment_.stream(stream.index());
  std::uint64_t state = words.state.load(std::memory_order_acquire);
  bool over = state_of(words) == StreamState::tombed || state_of(words) == StreamState::parked;
  if (state >> 28 != stream.generation() || !over) return section->leave(), true;
  if (!settled) return section->leave(), false;
  for (LaneWords& lane : words.lane)
    if (!Reference{lane.first.load(std::memory_order_acquire)}.is_tomb()) return section->leave(), false;
  if (std::uint64_t kept = get(words.parked_slots)) {
    give_slots(*section, static_cast<std::uint32_t>(kept));
    section->set(words.parked_slots, 0);
  }
  section->set(words.state, state_word(stream.generation() + 1, Kind::none, StreamState::free));
  Word& hint = segment_.header().descriptor_hint;
  if (get(hint) > stream.index()) section->set(hint, stream.index());
  section->leave();
  return true;
}

}  // namespace headpond::internal
