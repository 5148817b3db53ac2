#include "rebuild.h"

#include <algorithm>
#include <map>

#include "directory.h"
#include "merge.h"
#include "recovery.h"
#include "recovery_table.h"
#include "tier_side.h"
#include "unpark.h"

namespace headpond::internal {

namespace {

constexpr std::uint64_t kPatienceUs = 20'000'000;
constexpr std::uint64_t kAll = (1ULL << 63) - 1;
constexpr int kEpochBits =
    40;  // ids of an epoch begin at epoch << 40; ids of streams in the tier at epoch << 32
std::uint64_t soon() { return sys::precise_us() + kPatienceUs; }

class Rebuild {
 public:
  Rebuild(ThreadContext& me, Tier& tier) : me_(me), segment_(me.pond->segment()), tier_(tier) {}

  Status run() {
    epoch_ = tier_.identity().epoch + 1;
    if (Status begun = tier_.begin_epoch(epoch_, soon()); !begun) return begun;
    auto swept = recovery::sweep(tier_, soon());
    if (!swept) return swept.status();
    if (Status chosen = choose(); !chosen) return chosen;
    for (std::uint32_t i = 0; i < kFloors; i++)
      segment_.floor(i).store((epoch_ << kEpochBits) + 1, std::memory_order_relaxed);
    Merge merge(me_, tier_, in_use_, epoch_ << kEpochBits);
    if (Status merged = merge.run(); !merged) return merged;
    if (Status forgotten = forget_empty(merge.result); !forgotten) return forgotten;
    TierSide::begin_with(segment_, tier_.identity(), std::max(highest_id_, epoch_ << 32));
    segment_.header().settings_followed.store(1);
    if (Status read = read_settings(); !read) return read;
    if (Status back = come_back(merge.result); !back) return back;
    if (Status back = queues_without_items(); !back) return back;
    note(merge.result);
    return {};
  }

 private:
  /// Which streams are in use. A stream that has a successor under its name was ended by who made that one, though he may not have lived to say so
  /// in every lane.
  Status choose() {
    auto names = tier_.streams(soon());
    if (!names) return names.status();
    using Name = std::tuple<std::uint8_t, std::string, std::string, std::string>;
    auto name_of = [](const TierNames& of) { return Name{of.kind, of.scope, of.ns, of.name}; };
    std::map<Name, std::uint64_t> newest;
    std::map<std::uint64_t, bool> ended;
    for (const TierNames& of : *names) {
      bool queue = of.kind == static_cast<std::uint8_t>(Kind::queue),
           log = of.kind == static_cast<std::uint8_t>(Kind::log);
      if (!(queue && of.stream % 16 < kLanes) && !(log && of.stream % 16 == 0))
        return {Code::corruption, "pond " + me_.pond->name() + ": the durable tier has a stream " +
                                      std::to_string(of.stream) + " of kind " + std::to_string(of.kind) +
                                      ", which is none; put back a copy of the folder, or remove the pond"};
      newest[name_of(of)] = std::max(newest[name_of(of)], of.stream >> 4);
      ended[of.stream >> 4] |= of.cleared_upto >= kAll;
      highest_id_ = std::max(highest_id_, of.stream >> 4);
    }
    for (const TierNames& of : *names) {
      bool over = ended[of.stream >> 4] || newest[name_of(of)] != of.stream >> 4;
      recovery::StreamFacts facts{recovery::NamesAre::declared,
                                  over ? recovery::ScopeIs::dropped : recovery::ScopeIs::in_use};
      if (recovery::classify(facts).cure == recovery::StreamCure::look_at_rows) {
        in_use_.emplace(of.stream, of);
        continue;
      }
      empty_.push_back(of.stream);
      if (Status cleared = tier_.clear(of.stream, kAll, soon()); !cleared) return cleared;
      if (Status erased = tier_.erase_upto(of.stream, kAll, soon()); !erased) return erased;
    }
    return {};
  }

  /// Their journal is gone by now.
  Status forget_empty(const Merged& merged) {
    for (const auto& [stream, names] : in_use_)
      if (!merged.lanes.contains(stream) || merged.lanes.at(stream).rows.empty()) empty_.push_back(stream);
    for (std::uint64_t stream : empty_) {
      Status gone = tier_.forget(stream, soon());
      if (!gone && gone.code() != Code::not_found && gone.code() != Code::busy) return gone;
    }
    return {};
  }

  // ----------------------------------------------------------------------------------------------------------- settings

  /// Scopes first: their streams are made with what they say. Those of queues are kept until these are made.
  Status read_settings() {
    auto settings = tier_.settings(soon());
    if (!settings) return settings.status();
    for (TierSetting& setting : *settings) {
      const Key key = Directory::key_of(setting);
      (key.kind == Kind::cursor ? cursors_ : settings_)++;
      if (key.kind == Kind::queue) {
        queues_.emplace(key.encoded(), std::move(setting));
        continue;
      }
      if (Status back = fits(Directory(me_).restore(setting)); !back) return back;
    }
    return {};
  }

  Status fits(Status back) const {
    if (back.code() != Code::full) return back;
    return {Code::full, "pond " + me_.pond->name() +
                            ": its directory is too small for all the names that come "
                            "back; open it with a larger limit_bytes"};
  }

  Status queues_without_items() {
    while (!queues_.empty()) {
      const TierSetting& setting = queues_.begin()->second;
      if (Status back = park(0, Directory::key_of(setting), {}, 0); !back) return back;
    }
    return {};
  }

  // ------------------------------------------------------------------------------------------------------------ streams

  Status come_back(const Merged& merged) {
    std::vector<ParkedLane> lanes;
    for (auto at = merged.lanes.begin(); at != merged.lanes.end();) {
      const std::uint64_t id = at->first >> 4;
      const TierNames& names = in_use_.at(at->first);
      std::uint64_t due = 0;  // of its delayed items, the first
      for (lanes.clear(); at != merged.lanes.end() && at->first >> 4 == id; ++at) {
        if (at->second.rows.empty()) continue;
        lanes.push_back(parked_lane(at->second));
        // what is damaged is met when it is looked for
        for (const auto& [first, row] : at->second.rows)
          if (at->second.kind.delayed()) due = sooner(due, row.damaged ? 1 : row.due);
      }
      if (lanes.empty()) continue;
      const Key key{static_cast<Kind>(names.kind), names.scope, names.ns, names.name, {}};
      if (Status back = park(id, key, lanes, due); !back) return back;
    }
    return {};
  }

  ParkedLane parked_lane(const MergedLane& lane) {
    ParkedLane out{lane.kind.number, lane.rows.begin()->first, lane.rows.rbegin()->second.last + 1, 0, 0};
    std::uint64_t largest = 0;
    for (const auto& [first, row] : lane.rows)
      out.items += row.items, out.bytes += row.bytes, largest = std::max(largest, row.page_bytes);
    Word& mark = segment_.header().largest_spilled;
    mark.store(std::max(mark.load(), (largest + kUnit - 1) / kUnit));
    return out;
  }

  /// A descriptor of a moment, which is parked as it is made. `id` 0: it has no rows.
  Status park(std::uint64_t id, const Key& key, const std::vector<ParkedLane>& lanes, std::uint64_t due_ms) {
    Directory directory(me_);
    auto made = directory.find_or_create(key);
    if (!made) return fits(made.status());
    me_.pond->touch(made->index());
    StreamWords& words = segment_.stream(made->index());
    words.id.store(id);
    if (auto set = queues_.find(key.encoded()); set != queues_.end()) {
      if (Status back = directory.restore(set->second, words); !back) return back;
      queues_.erase(set);
    }
    for (const ParkedLane& lane : lanes) words.lanes.fetch_or(1u << lane.number);
    if (key.kind == Kind::log) words.trimmed.store(lanes[0].first);
    for (LaneWords& lane : words.lane) lane.first.store(Reference::tomb().raw);
    if (Status kept = directory.keep_slots(*made, lanes.size()); !kept) return kept;
    if (auto parked = directory.park(*made, lanes); !parked) return parked.status();
    if (auto freed = directory.free_descriptor(*made); !freed) return freed.status();
    return due_ms ? wake_delayed(key, due_ms) : Status();
  }

  /// Delayed items must be seen when they are due: their stream comes back at once, with a gap that says when.
  Status wake_delayed(const Key& key, std::uint64_t due_ms) {
    auto stream = unpark(me_, key);
    if (stream.code() == Code::full)
      return {Code::full,
              "pond " + me_.pond->name() + ": " + std::to_string(segment_.limit_bytes() >> 20) +
                  " MiB are too few for all the queues with delayed items that come back; open it "
                  "with a larger limit_bytes"};
    if (!stream) return stream.status();
    Lane lane(me_, *stream, kDelayedLane);
    Unpin unpin{lane};
    PageView first;
    if (!lane.pin(Reference{lane.words.first.load()}, first)) return Code::corruption;
    first.header->gap_due.store(due_ms);
    lane.stream.due.store(DueWord{}.next(due_ms).raw);
    return {};
  }

  // -------------------------------------------------------------------------------------------------------------- notes

  void note(const Merged& merged) {
    RebuiltWords& out = segment_.header().rebuilt;
    std::uint64_t streams = 0, last_stream = 0, rows = 0, items = 0, bytes = 0, lost = 0, unknown = 0;
    for (const auto& [stream, lane] : merged.lanes) {
      if (lane.rows.empty()) continue;
      streams += last_stream != stream >> 4, last_stream = stream >> 4;
      bool log = in_use_.at(stream).kind == static_cast<std::uint8_t>(Kind::log);
      std::uint64_t next = lane.rows.begin()->first;
      for (const auto& [first, row] : lane.rows) {
        rows++, items += row.damaged ? 0 : row.items, bytes += row.bytes;
        std::uint64_t missing = row.last - first + 1 - std::min(row.items, row.last - first + 1);
        if (next >> kEpochBits == first >> kEpochBits) missing += first - next;
        (log ? lost : unknown) += missing;
        next = row.last + 1;
      }
    }
    out.at_ms.store(sys::wall_ms()), out.streams.store(streams), out.rows.store(rows), out.items.store(items);
    out.bytes.store(bytes), out.from_journal.store(merged.from_journal);
    out.damaged_rows.store(merged.damaged_rows), out.damaged_items.store(merged.damaged_items);
    out.lost_records.store(lost), out.unknown_items.store(unknown);
    out.settings.store(settings_), out.cursors.store(cursors_);
    out.epoch.store(epoch_);
  }

  ThreadContext& me_;
  Segment& segment_;
  Tier& tier_;
  std::uint64_t epoch_ = 0, highest_id_ = 0, settings_ = 0, cursors_ = 0;
  std::map<std::uint64_t, TierNames> in_use_;
  std::vector<std::uint64_t> empty_;
  std::map<std::string, TierSetting> queues_;  // by their encoded keys, until they are made
};

}  // namespace

Status rebuild(const std::shared_ptr<Segment>& segment, const Options& options, const StateFolder& state,
               sys::Fd& presence, std::shared_ptr<Tier>& tier) {
  if (!has_tier(state.path())) return {};
  auto alone = state.alone();
  recovery::StoreFacts facts{recovery::SegmentIs::gone,
                             alone ? recovery::OldOnes::none : recovery::OldOnes::live,
                             recovery::StoreIs::the_same, recovery::JournalIs::as_remembered};
  if (recovery::classify(facts).cure != recovery::StoreCure::rebuild) return alone.status();
  TierOptions how;
  how.folder = state.path();
  auto opened = open_tier(how, soon());
  if (opened.code() == Code::not_found) return {};
  if (!opened) return opened.status();
  auto me = Attachment::alone(segment, options, state.path());
  if (!me) return me.status();
  ThreadContext* thread = (*me)->thread();
  if (!thread) return Code::full;
  tier = std::move(*opened);
  (*me)->tier_side().use(tier);
  if (Status done = Rebuild(*thread, *tier).run(); !done) return done;
  presence = std::move(*alone);
  return {};
}

}  // namespace headpond::internal
