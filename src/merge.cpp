#include "merge.h"

#include <algorithm>

#include "append.h"
#include "recovery_table.h"
#include "row_image.h"

namespace headpond::internal {

namespace {

constexpr std::uint64_t kPatienceUs = 20'000'000;
std::uint64_t soon() { return sys::precise_us() + kPatienceUs; }

/// Bytes before the item's own in a payload of the journal.
std::uint64_t extra_in(LaneKind kind, std::string_view payload) {
  if (kind.log || kind.number < kDelayedLane) return 0;
  if (kind.number == kDelayedLane) return sizeof(DelayedPrefix);
  DeadPrefix prefix{};
  if (payload.size() >= sizeof prefix) std::memcpy(&prefix, payload.data(), sizeof prefix);
  return sizeof prefix + prefix.reason_bytes;
}

recovery::RowCure cure_of(recovery::RowIs row, std::uint64_t items) {
  recovery::RowFacts facts{row, recovery::Cleared::no, recovery::Place::in_a_gap,
                           items ? recovery::ItemsAre::live : recovery::ItemsAre::done};
  return recovery::classify(facts).cure;
}

}  // namespace

Status Merge::run() {
  Status read = tier_.survivors([&](const Tier::Acked& acked) { return read_rows(acked); },
                                [&](const JournalEntry& entry) { return take(entry); }, soon());
  if (!read) return read;
  for (const auto& [birth, place] : last_place_)
    if (place.moves) drop({birth.first, birth.second, 0});
  for (auto& [stream, changes] : changes_)
    if (Status written = write(stream, changes); !written) return written;
  return trim();
}

Status Merge::nonsense(std::uint64_t stream, std::uint64_t from, std::uint64_t to, const char* what) const {
  return {Code::corruption, "pond " + me_.pond->name() + ": the durable tier has ids " +
                                std::to_string(from) + " to " + std::to_string(to) + " of stream " +
                                std::to_string(stream) + ", " + what +
                                "; put back a copy of the folder, or remove the pond"};
}

MergedLane& Merge::lane_of(std::uint64_t stream) {
  bool log = names_.at(stream).kind == static_cast<std::uint8_t>(Kind::log);
  return result.lanes.try_emplace(stream, MergedLane{{log, static_cast<int>(stream % 16)}, {}}).first->second;
}

// -------------------------------------------------------------------------------------------------------------------- read

Status Merge::read_rows(const Tier::Acked& acked) {
  auto streams = tier_.streams_with_rows(soon());
  if (!streams) return streams.status();
  for (std::uint64_t stream : *streams) {
    if (!names_.contains(stream)) continue;  // cleared
    MergedLane& lane = lane_of(stream);
    Status listed = tier_.list(
        stream, [&](const TierSpan& span) { return read_row(lane, stream, span, acked); }, soon());
    if (!listed) return listed;
  }
  return {};
}

Status Merge::read_row(MergedLane& merged, std::uint64_t stream, const TierSpan& span,
                       const Tier::Acked& acked) {
  if (span.first > span.last || span.last >= ids_end_)
    return nonsense(stream, span.first, span.last, "which were never given");
  if (!merged.rows.empty() && merged.rows.rbegin()->second.last >= span.first)
    return nonsense(stream, span.first, span.last, "of which another row has some, too");
  auto row = tier_.load(stream, span.first, soon());
  if (!row && row.code() != Code::corruption) return row.status();
  auto laid = row ? lay_out_row(me_.pond->name(), merged.kind, *row)
                  : Result<std::shared_ptr<const SpilledPage>>(row.status());
  if (!laid && laid.code() != Code::corruption) return laid.status();
  if (!laid) {  // it stays: whoever comes to its ids is told so
    result.damaged_rows++, result.damaged_items += span.records;
    merged.rows[span.first] = {span.last, span.records, 0, kFirstRecord + span.bytes, true};
    return {};
  }
  const SpilledPage& page = **laid;
  merged.rows[span.first] = {page.last, page.weight.items, page.weight.bytes, page.view.bytes,
                             false,     page.weight.due};
  Changes& changes = changes_[stream];
  std::uint64_t id = page.first, cleared = names_.at(stream).cleared_upto;
  for (std::uint64_t offset = kFirstRecord; id <= page.last;) {
    RecordWord word{page.view.word(offset).load(std::memory_order_relaxed)};
    if (word.state() == RecordState::ready) {
      Birth birth{stream, id};
      if (word.has(kMoved)) {
        ItemId born{page.view.moved(offset).birth};
        birth = {stream >> 4 << 4 | static_cast<std::uint64_t>(born.lane()), born.seq()};
        std::uint64_t moves = std::max<std::uint64_t>(page.view.moved(offset).moves, 1);
        sight(birth, {stream, id, static_cast<std::uint32_t>(moves)});
      }
      if (id <= cleared || acked(birth.first, birth.second)) changes.drop.insert(id);
    }
    offset += page.view.extent(offset, word), id += word.ids();
  }
  if (page.weight.items == 0) changes.drop.insert(page.first);  // all done: looked at when it is written
  return {};
}

Status Merge::take(const JournalEntry& entry) {
  if (entry.kind != JournalEntry::Kind::push) return {};
  if (!names_.contains(entry.stream)) return {};  // cleared
  if (entry.seq == 0 || entry.seq >= ids_end_)
    return nonsense(entry.stream, entry.seq, entry.seq, "which was never given");
  lane_of(entry.stream);
  Birth birth{entry.birth_stream, entry.birth_seq};
  changes_[entry.stream].put.insert_or_assign(entry.seq,
                                              Item{birth, entry.moves, std::string(entry.payload)});
  sight(birth, {entry.stream, entry.seq, entry.moves});
  return {};
}

/// The item is there, too.
void Merge::sight(Birth birth, Place place) {
  auto [at, fresh] = last_place_.try_emplace(birth, place);
  Place& last = at->second;
  if (fresh || (last.stream == place.stream && last.seq == place.seq)) return;
  drop(last.moves < place.moves ? last : place);
  if (last.moves < place.moves) last = place;
}

void Merge::drop(const Place& place) {
  auto changes = changes_.find(place.stream);
  if (changes == changes_.end()) return;  // nothing of it is there
  changes->second.drop.insert(place.seq);
  changes->second.put.erase(place.seq);
}

// ------------------------------------------------------------------------------------------------------------------- write

Status Merge::write(std::uint64_t stream, Changes& changes) {
  std::vector<std::uint64_t> touched;
  auto any_in = [](const auto& ids, std::uint64_t from, std::uint64_t to) {
    auto at = ids.lower_bound(from);
    return at != ids.end() && [&] {
      if constexpr (requires { at->first; })
        return at->first;
      else
        return *at;
    }() <= to;
  };
  for (const auto& [first, row] : result.lanes.at(stream).rows)
    if (!row.damaged && (any_in(changes.drop, first, row.last) || any_in(changes.put, first, row.last)))
      touched.push_back(first);
  for (std::uint64_t first : touched)
    if (Status written = write_row(stream, first, changes); !written) return written;
  return write_new(stream, changes);
}

/// One row again, without what is to go and with what is to come.
Status Merge::write_row(std::uint64_t stream, std::uint64_t first, Changes& changes) {
  MergedLane& merged = result.lanes.at(stream);
  auto row = tier_.load(stream, first, soon());
  if (!row) return row.status();
  auto laid = lay_out_row(me_.pond->name(), merged.kind, *row);
  if (!laid) return laid.status();
  const SpilledPage& page = **laid;
  std::uint64_t now = sys::coarse_us();
  std::vector<RowImage> images(1, RowImage(first));
  bool changed = false;
  auto reach = [&](std::uint64_t id) -> RowImage& {
    if (!images.back().reaches(id) || images.back().page_bytes() >= me_.pond->segment().max_page_bytes())
      images.emplace_back(id);
    return images.back();
  };
  std::uint64_t id = first;
  for (std::uint64_t offset = kFirstRecord; id <= page.last;) {
    RecordWord word{page.view.word(offset).load(std::memory_order_relaxed)};
    bool ready = word.state() == RecordState::ready, gone = ready && changes.drop.contains(id);
    changed |= gone;
    if (ready && !gone) {
      reach(id).copy(merged.kind, page.view, offset, word, id);
      changes.put.erase(id);
    }
    for (auto put = changes.put.lower_bound(id); put != changes.put.end() && put->first < id + word.ids();) {
      const Item& item = put->second;
      reach(put->first)
          .add(put->first, item.payload, extra_in(merged.kind, item.payload),
               {(item.birth.first % 16) << 60 | item.birth.second}, item.moves, now);
      changed = true, result.from_journal++;
      put = changes.put.erase(put);
    }
    offset += page.view.extent(offset, word), id += word.ids();
  }
  bool any = images.back().weight().items != 0;
  if (cure_of(recovery::RowIs::whole, any) == recovery::RowCure::erase) {
    merged.rows.erase(first);
    return tier_.erase(stream, std::span(&first, 1), soon());
  }
  return changed ? store(stream, merged, images) : Status();
}

/// What is in the journal alone, in rows that lie between the others.
Status Merge::write_new(std::uint64_t stream, Changes& changes) {
  MergedLane& merged = result.lanes.at(stream);
  std::uint64_t now = sys::coarse_us();
  std::vector<RowImage> images;
  auto row_between = [&](std::uint64_t from, std::uint64_t to) {
    auto next = merged.rows.lower_bound(from);
    return next != merged.rows.end() && next->first < to;
  };
  for (const auto& [id, item] : changes.put) {
    if (in_damage(stream, id, id)) continue;  // the journal keeps it
    if (images.empty() || !images.back().reaches(id) ||
        images.back().page_bytes() >= me_.pond->segment().max_page_bytes() ||
        row_between(images.back().first(), id)) {
      if (images.size() == 16) {
        if (Status stored = store(stream, merged, images); !stored) return stored;
        images.clear();
      }
      images.emplace_back(id);
    }
    images.back().add(id, item.payload, extra_in(merged.kind, item.payload),
                      {(item.birth.first % 16) << 60 | item.birth.second}, item.moves, now);
    result.from_journal++;
  }
  return images.empty() ? Status() : store(stream, merged, images);
}

Status Merge::store(std::uint64_t stream, MergedLane& merged, std::vector<RowImage>& images) {
  std::vector<TierPage> pages;
  for (RowImage& image : images) {
    image.seal();
    pages.push_back({.stream = stream,
                     .first = image.first(),
                     .last = image.last(),
                     .records = static_cast<std::uint32_t>(image.weight().items),
                     .created_ms = sys::wall_ms(),
                     .bytes = image.image()});
    merged.rows[image.first()] = {image.last(), image.weight().items, image.weight().bytes,
                                  image.page_bytes(), false,
                                  // looked at again by who asks
                                  merged.kind.delayed() && image.weight().items ? 1u : 0u};
  }
  return tier_.store(pages, soon());
}

// -------------------------------------------------------------------------------------------------------------------- trim

bool Merge::in_damage(std::uint64_t stream, std::uint64_t from, std::uint64_t to) const {
  auto lane = result.lanes.find(stream);
  if (lane == result.lanes.end()) return false;
  for (const auto& [first, row] : lane->second.rows)
    if (row.damaged && first <= to && from <= row.last) return true;
  return false;
}

/// Of damaged rows the journal keeps what it has: who repairs them needs it.
Status Merge::trim() {
  auto keep = [&](const JournalEntry& entry) {
    using Kind = JournalEntry::Kind;
    if (entry.kind == Kind::note) return true;
    if (entry.kind == Kind::ack) return in_damage(entry.birth_stream, entry.birth_seq, entry.birth_last);
    return in_damage(entry.stream, entry.seq, entry.seq);
  };
  return tier_.trim(UINT32_MAX, keep, soon());
}

}  // namespace headpond::internal
