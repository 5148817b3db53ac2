// Walks over the whole directory: list, the key of a descriptor, verify.
#include <algorithm>
#include <set>

#include "directory_inside.h"

namespace headpond::internal {

Result<std::vector<Directory::Listed>> Directory::list(const std::string* scope) {
  std::vector<Listed> out;
  auto add = [&](std::uint32_t at) {
    Listed entry;
    if (!Key::decode(key_bytes(at - 1), entry.key)) return;
    std::uint64_t value = get(segment_.slot(at - 1).value);
    bool stream = is_stream(entry.key.kind);
    // damaged: verify() says so
    if (stream && !in_table(Binding{value})) return;
    if (stream) entry.stream = Binding{value};
    if (stream && entry.stream.is_parked())
      entry.parked = read_parked(entry.stream);
    else if (!stream)
      entry.values = {value, get(segment_.slot(at - 1).value2) & ~kValueMarks};
    out.push_back(std::move(entry));
  };
  if (scope) {
    Key key{Kind::scope, *scope, {}, {}, {}};
    auto found = with_entry(key, [&](Section& section, std::uint32_t at) -> Result<bool> {
      if (at)
        for (std::uint32_t i = high(get(segment_.slot(at - 1).family)), steps = 0;
             i && i <= slots() && steps++ <= slots(); i = low(get(segment_.slot(i - 1).family)))
          add(i);
      section.leave();
      return true;
    });
    if (!found) return found.status();
    return out;
  }
  if (Status walked = each_entry(add); !walked) return walked;
  return out;
}

Result<Key> Directory::key_of(Binding stream) {
  auto section = Section::enter(me_, kDirectorySection);
  if (!section) return section.status();
  std::uint64_t at = get(segment_.stream(stream.index()).entry);
  Key key;
  bool good = at && at <= slots() &&
              get(segment_.slot(static_cast<std::uint32_t>(at - 1)).value) == stream.raw &&
              Key::decode(key_bytes(static_cast<std::uint32_t>(at - 1)), key);
  section->leave();
  if (!good) return Code::not_found;
  return key;
}

Status Directory::verify(std::vector<std::string>& problems) {
  auto section = Section::enter(me_, kDirectorySection);
  if (!section) return section.status();
  Header& header = segment_.header();
  std::uint64_t used = std::min(get(header.slots_used), segment_.reserved(Table::slots)), entries = 0;
  std::set<std::uint32_t> seen;
  std::set<std::uint64_t> named;
  auto once = [&](std::uint32_t at, const char* where) {
    if (at > used)
      problems.push_back(std::string("directory: ") + where + " names slot " + std::to_string(at) +
                         " beyond the last");
    else if (!seen.insert(at).second)
      problems.push_back(std::string("directory: slot ") + std::to_string(at) + " is met twice, at last in " +
                         where);
    else
      return true;
    return false;
  };
  for (std::uint64_t bucket = 0; bucket < buckets(); bucket++)
    for (std::uint32_t at = low(get(segment_.bucket(static_cast<std::uint32_t>(bucket)))); at;
         at = low(get(segment_.slot(at - 1).chain))) {
      if (!once(at, "a bucket")) break;
      entries++;
      for (std::uint32_t next = high(get(segment_.slot(at - 1).chain)); next && once(next, "an entry");
           next = high(get(segment_.slot(next - 1).chain))) {
      }
      Key key;
      std::string bytes = key_bytes(at - 1);
      if (!Key::decode(bytes, key)) {
        problems.push_back("directory: slot " + std::to_string(at) + " has a key that is none");
        continue;
      }
      if (bucket_of(hash_of(bytes)) != bucket)
        problems.push_back("directory: slot " + std::to_string(at) +
                           " is in a bucket that its key does not hash to");
      if (key.kind != Kind::queue && key.kind != Kind::log && key.kind != Kind::postings) continue;
      Binding stream{get(segment_.slot(at - 1).value)};
      if (stream.is_parked() && is_stream(key.kind)) {
        std::vector<std::uint32_t> kept = chain_of(stream.slot());
        for (std::uint32_t slot : kept) once(slot, "parked words");
        Parked words = read_parked(stream);
        std::uint64_t lanes =
            kept.empty() ? 0 : get((reinterpret_cast<Word*>(&segment_.slot(kept[0] - 1)) + 1)[8]) >> 16;
        if (kept.empty() || words.lanes.size() != lanes || (words.id == 0 && words.items() > 0))
          problems.push_back("I17: slot " + std::to_string(at) + " names parked words that are none");
        for (const ParkedLane& lane : words.lanes)
          if (lane.first > lane.next || lane.items > lane.next - lane.first)
            problems.push_back("I17: slot " + std::to_string(at) + " has parked lane " +
                               std::to_string(lane.number) + " with more items than ids");
        continue;
      }
      if (stream.index() >= std::min(get(header.descriptors_used), segment_.reserved(Table::streams))) {
        problems.push_back("I9: slot " + std::to_string(at) + " names a stream beyond the last");
        continue;
      }
      StreamWords& words = segment_.stream(stream.index());
      if (words.state.load() >> 28 != stream.generation() ||
          (state_of(words) != StreamState::live && state_of(words) != StreamState::clearing))
        problems.push_back("I9: slot " + std::to_string(at) + " names stream " +
                           std::to_string(stream.index()) + ", which is not live in that generation");
      if (!named.insert(stream.raw).second)
        problems.push_back("I9: stream " + std::to_string(stream.index()) + " has two names");
    }
  if (entries != get(header.entry_count))
    problems.push_back("directory: " + std::to_string(entries) + " entries, and its count says " +
                       std::to_string(get(header.entry_count)));
  std::uint64_t free = 0;
  for (std::uint32_t at = static_cast<std::uint32_t>(get(header.slot_free)); at && once(at, "the free list");
       at = high(get(segment_.slot(at - 1).chain)))
    free++;
  for (std::uint32_t i = 0; i < std::min(get(header.descriptors_used), segment_.reserved(Table::streams));
       i++)
    if (StreamWords& words = segment_.stream(i); state_of(words) != StreamState::free)
      for (std::uint32_t slot : chain_of(static_cast<std::uint32_t>(get(words.parked_slots))))
        once(slot, "a descriptor's parked words");
  if (seen.size() != get(header.slots_used))
    problems.push_back("I18: " + std::to_string(get(header.slots_used) - seen.size()) +
                       " slots are neither used nor free");
  if (get(header.descriptors_used) > segment_.reserved(Table::streams))
    problems.push_back("directory: " + std::to_string(get(header.descriptors_used)) +
                       " streams are more than there can be");
  for (std::uint32_t i = 0; i < std::min(get(header.descriptors_used), segment_.reserved(Table::streams));
       i++) {
    StreamWords& words = segment_.stream(i);
    if (state_of(words) == StreamState::live && !named.count(Binding::make(i, words.state.load() >> 28).raw))
      problems.push_back("I9: stream " + std::to_string(i) + " is live and has no name");
  }
  section->leave();
  return {};
}

}  // namespace headpond::internal
