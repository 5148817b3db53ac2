#include "survivors.h"

#include <utility>

#include "src/id_ranges.h"

namespace headpond::internal {

namespace {

using Birth = std::pair<std::uint64_t, std::uint64_t>;

struct Place {
  std::uint32_t moves = 0;
  bool visited = false;
};

bool is_push(const JournalEntry& entry) { return entry.kind == JournalEntry::Kind::push; }

}  // namespace

Status visit_survivors(Journal& journal, const std::map<std::uint64_t, std::uint64_t>& cleared,
                       const std::function<Status(const Tier::Acked&)>& acks,
                       const std::function<Status(const JournalEntry&)>& visit, std::uint64_t deadline_us) {
  std::map<std::uint64_t, IdRanges> done;
  Tier::Acked acked = [&](std::uint64_t stream, std::uint64_t seq) {
    auto of = done.find(stream);
    return of != done.end() && of->second.contains(seq);
  };
  auto collect_acks = [&](const JournalEntry& entry) -> Status {
    if (entry.kind == JournalEntry::Kind::ack)
      done[entry.birth_stream].add(entry.birth_seq, entry.birth_last);
    return {};
  };
  if (Status read = journal.replay(collect_acks, deadline_us); !read) return read;
  if (Status answer = acks(acked); !answer) return answer;

  std::map<Birth, Place> places;
  auto find_last_places = [&](const JournalEntry& entry) -> Status {
    if (!is_push(entry) || acked(entry.birth_stream, entry.birth_seq)) return {};
    Place& place = places[{entry.birth_stream, entry.birth_seq}];
    place.moves = std::max(place.moves, entry.moves);
    return {};
  };
  if (Status read = journal.replay(find_last_places, deadline_us); !read) return read;

  auto visit_each_once = [&](const JournalEntry& entry) -> Status {
    if (entry.kind == JournalEntry::Kind::note) return visit(entry);
    if (!is_push(entry)) return {};
    auto place = places.find({entry.birth_stream, entry.birth_seq});
    if (place == places.end() || place->second.visited || place->second.moves != entry.moves) return {};
    place->second.visited = true;
    auto upto = cleared.find(entry.stream);
    return upto != cleared.end() && entry.seq <= upto->second ? Status() : visit(entry);
  };
  return journal.replay(visit_each_once, deadline_us);
}

}  // namespace headpond::internal
