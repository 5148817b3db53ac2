// What verify() looks at of streams that have left the segment: I15, I17 and I19.
#include <algorithm>
#include <set>

#include "pond_access.h"
#include "section.h"
#include "tier_side.h"
#include "unlink.h"

namespace headpond::internal {

namespace {

constexpr std::uint64_t kPatienceUs = 2'000'000;

std::string named(const Key& key) {
  return "the parked stream \"" + key.name + "\" of scope \"" + key.scope + "\"";
}

/// I17, of one lane.
Status rows_of(Tier& tier, const Key& key, const Parked& parked, const ParkedLane& lane, Findings& out) {
  std::uint64_t id = parked.id << 4 | static_cast<std::uint64_t>(lane.number),
                until = sys::precise_us() + kPatienceUs;
  auto inside = tier.totals(id, lane.first, lane.next - 1, until),
       all = tier.totals(id, 0, UINT64_MAX >> 1, until);
  if (!inside) return inside.status();
  if (!all) return all.status();
  out.rows += all->rows;
  std::string lane_text = " (" + named(key) + ", lane " + std::to_string(lane.number) + ")";
  if (inside->rows != all->rows)
    out.problems.push_back("I17: " + std::to_string(all->rows - inside->rows) +
                           " rows are outside of the ids " + std::to_string(lane.first) + " to " +
                           std::to_string(lane.next - 1) + lane_text);
  // Of a log, what was trimmed is not counted, and may be in a row yet; or it is in a gap's counts, and its row is gone.
  bool log = key.kind == Kind::log, less = inside->records<lane.items, more = inside->records> lane.items;
  if ((less && (!log || parked.trimmed <= lane.first)) || (more && !log))
    out.problems.push_back("I17: its rows have " + std::to_string(inside->records) +
                           " items, and it is said to have " + std::to_string(lane.items) + lane_text);
  return {};
}

}  // namespace

Status verify_parked(ThreadContext& me, Findings& out) {
  Segment& segment = me.pond->segment();
  auto entries = Directory(me).list();
  if (!entries) return entries.status();
  std::set<std::uint64_t> ids;
  std::uint64_t last = segment.header().stream_ids.load(std::memory_order_acquire);
  for (const Directory::Listed& entry : *entries) {
    if (!entry.stream.is_parked() || !entry.parked.id) continue;
    out.streams++;
    if (entry.parked.id > last || !ids.insert(entry.parked.id).second)
      out.problems.push_back("I15: " + named(entry.key) + " has id " + std::to_string(entry.parked.id) +
                             (entry.parked.id > last ? ", which was never given" : ", and so has another"));
    auto tier = me.pond->tier_side().tier(me);
    if (!tier) return tier.status();
    for (const ParkedLane& lane : entry.parked.lanes)
      if (Status read = rows_of(**tier, entry.key, entry.parked, lane, out); !read) return read;
  }
  std::uint64_t used = std::min(segment.header().descriptors_used.load(std::memory_order_acquire),
                                segment.reserved(Table::streams));
  for (std::uint32_t i = 0; i < used; i++) {
    auto state_now = [&] { return segment.stream(i).state.load(std::memory_order_acquire); };
    std::uint64_t state = state_now();
    if (static_cast<StreamState>(state & 0xff) != StreamState::parked) continue;
    auto section = Section::enter(me, stream_section(i));
    if (!section) return section.status();
    for (int n = 0; n < kLanes && state_now() == state; n++)
      if (!ends_in_tomb(Lane(me, Binding::make(i, state >> 28), n)) && state_now() == state)
        out.problems.push_back("I19: stream " + std::to_string(i) + " is parked, and its lane " +
                               std::to_string(n) + " has no tomb");
    section->leave();
  }
  return {};
}

}  // namespace headpond::internal
