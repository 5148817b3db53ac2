#include "journal_trim.h"

#include <algorithm>
#include <map>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "id_ranges.h"
#include "lane.h"
#include "pages.h"

namespace headpond::internal {

namespace {

constexpr std::uint64_t kAll = (1ULL << 63) - 1;

/// Streams in the tier have a number in the segment and a lane in it.
std::uint64_t hot_id(std::uint64_t stream) { return stream >> 4; }

class Trim {
 public:
  Trim(ThreadContext& me, Tier& tier, std::uint64_t until_us)
      : segment_(me.pond->segment()), tier_(tier), until_us_(until_us) {
    from_ = segment_.header().stream_ids_from.load(std::memory_order_acquire);
  }

  Status run(std::uint64_t& kept) {
    if (Status read = read_journal(); !read) return read;
    if (Status read = read_names(); !read) return read;
    look_at_streams();
    look_at_pages();
    auto rows = tier_.streams_with_rows(until_us_);
    if (!rows) return rows.status();
    for (std::uint64_t stream : *rows) may_have_rows_.insert(hot_id(stream));
    kept = 0;
    Status done = tier_.trim(
        UINT32_MAX,
        [&](const JournalEntry& entry) {
          bool keep = wanted(entry);
          if (keep) kept += entry.payload.size() + 48;
          return keep;
        },
        until_us_);
    return done ? forget_cleared() : done;
  }

 private:
  using Birth = std::pair<std::uint64_t, std::uint64_t>;
  struct Place {
    std::uint32_t moves = 0;
    std::uint64_t entries = 0;  // with so many moves
  };

  Status read_journal() {
    Status read = tier_.replay(
        [&](const JournalEntry& entry) {
          if (entry.kind == JournalEntry::Kind::ack)
            acked_[entry.birth_stream].add(entry.birth_seq, entry.birth_last);
          return Status();
        },
        until_us_);
    if (!read) return read;
    return tier_.replay(
        [&](const JournalEntry& entry) {
          if (entry.kind != JournalEntry::Kind::push || acked(entry)) return Status();
          Place& place = places_[{entry.birth_stream, entry.birth_seq}];
          if (entry.moves > place.moves) place = {entry.moves, 0};
          place.entries += entry.moves == place.moves;
          return Status();
        },
        until_us_);
  }
  bool acked(const JournalEntry& push) const {
    auto of = acked_.find(push.birth_stream);
    return of != acked_.end() && of->second.contains(push.birth_seq);
  }

  Status read_names() {
    auto names = tier_.streams(until_us_);
    if (!names) return names.status();
    for (const TierNames& of : *names)
      cleared_upto_[of.stream] = of.cleared_upto, known_.insert(hot_id(of.stream));
    return {};
  }

  /// What logs have trimmed.
  void look_at_streams() {
    std::uint64_t used = std::min(segment_.header().descriptors_used.load(std::memory_order_acquire),
                                  segment_.reserved(Table::streams));
    for (std::uint32_t i = 0; i < used; i++) {
      StreamWords& words = segment_.stream(i);
      std::uint64_t state = words.state.load(std::memory_order_acquire),
                    id = words.id.load(std::memory_order_acquire),
                    trimmed = words.trimmed.load(std::memory_order_acquire);
      bool log = (state >> 8 & 0xff) == static_cast<std::uint64_t>(Kind::log);
      ids_[i] = id;
      if (id && log && words.state.load(std::memory_order_acquire) == state) trimmed_[id] = trimmed;
    }
  }

  void look_at_pages() {
    for_each_page(segment_, [&](std::uint32_t number, LifeWord life) {
      auto& page = *reinterpret_cast<PageHeader*>(segment_.page(number));
      // Not pinned: what is zeroed meanwhile is all done, and its row is gone or left over.
      if (life.state() != LifeState::spilling && !glance(page.row)) return;
      auto of = ids_.find(static_cast<std::uint32_t>(glance(page.stream) & 0xfffffff));
      if (of != ids_.end()) may_have_rows_.insert(of->second);
    });
  }

  bool wanted(const JournalEntry& entry) {
    if (entry.kind == JournalEntry::Kind::note) return true;
    bool ack = entry.kind == JournalEntry::Kind::ack;
    std::uint64_t stream = ack ? entry.birth_stream : entry.stream, last = ack ? entry.birth_last : entry.seq;
    if (hot_id(stream) <= from_) return true;  // of an earlier segment: who rebuilds knows
    // Declared before anything of it was posted: what has no name any more was cleared, and forgotten.
    if (!known_.count(hot_id(stream))) return false;
    if (auto cleared = cleared_upto_.find(stream); cleared != cleared_upto_.end() && last <= cleared->second)
      return false;
    if (ack) return may_have_rows_.count(hot_id(stream)) != 0;
    if (auto trimmed = trimmed_.find(hot_id(stream));
        trimmed != trimmed_.end() && entry.seq < trimmed->second)
      return false;
    auto place = places_.find({entry.birth_stream, entry.birth_seq});
    // The last one of those with the most moves: an earlier one may be of a move that was not committed.
    return place != places_.end() && place->second.moves == entry.moves && --place->second.entries == 0;
  }

  /// Cleared streams of which the journal has nothing any more.
  Status forget_cleared() {
    std::vector<std::uint64_t> over;
    for (auto [stream, upto] : cleared_upto_)
      if (upto == kAll && hot_id(stream) > from_) over.push_back(stream);
    // Those with rows are for who erases them, who is on the way; and it is tried again.
    auto goes_on = [](const Status& gone) {
      return gone.ok() || gone.code() == Code::busy || gone.code() == Code::not_found;
    };
    for (std::span<const std::uint64_t> left = over, some; !left.empty(); left = left.subspan(some.size())) {
      some = left.first(std::min(left.size(), kClearedAtOnce));
      Status gone = tier_.forget(some, until_us_);
      for (std::size_t i = 0, all = gone.code() == Code::busy ? some.size() : 0; i < all && goes_on(gone);
           i++)
        gone = tier_.forget(some[i], until_us_);
      if (!goes_on(gone)) return gone;
    }
    return {};
  }

  Segment& segment_;
  Tier& tier_;
  const std::uint64_t until_us_;
  std::uint64_t from_ = 0;
  std::map<std::uint64_t, IdRanges> acked_;
  std::map<Birth, Place> places_;
  std::map<std::uint64_t, std::uint64_t> cleared_upto_, trimmed_;
  std::map<std::uint32_t, std::uint64_t> ids_;     // of descriptors
  std::set<std::uint64_t> known_, may_have_rows_;  // hot ids
};

}  // namespace

Status trim_journal(ThreadContext& me, Tier& tier, std::uint64_t& kept, std::uint64_t until_us) {
  return Trim(me, tier, until_us).run(kept);
}

}  // namespace headpond::internal
