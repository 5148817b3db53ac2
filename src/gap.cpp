#include "gap.h"

#include <algorithm>
#include <cstring>

#include "each.h"
#include "tier_side.h"

namespace headpond::internal {

std::uint64_t own_bytes(LaneKind kind, const PageView& page, std::uint64_t offset, RecordWord word) {
  auto payload = page.payload(offset, word);
  std::uint64_t before = 0;
  if (kind.delayed()) before = sizeof(DelayedPrefix);
  if (!kind.log && kind.number == kDeadLane) {
    DeadPrefix prefix{};
    if (payload.size() >= sizeof prefix) std::memcpy(&prefix, payload.data(), sizeof prefix);
    before = sizeof prefix + prefix.reason_bytes;
  }
  return payload.size() - std::min<std::uint64_t>(payload.size(), before);
}

std::uint64_t due_of(const PageView& page, std::uint64_t offset, RecordWord word) {
  DelayedPrefix prefix{};
  auto payload = page.payload(offset, word);
  if (payload.size() >= sizeof prefix) std::memcpy(&prefix, payload.data(), sizeof prefix);
  return std::max<std::uint64_t>(prefix.due_ms, 1);
}

void weigh_item(LaneKind kind, const PageView& page, std::uint64_t offset, RecordWord word, Weight& out) {
  out.items++, out.bytes += own_bytes(kind, page, offset, word);
  if (kind.delayed()) out.due = sooner(out.due, due_of(page, offset, word));
}

bool weigh(LaneKind kind, const PageView& page, Weight& out) {
  out = {};
  for (std::uint64_t offset = kFirstRecord; page.holds(offset);) {
    RecordWord word{page.word(offset).load(std::memory_order_acquire)};
    if (word.state() == RecordState::seal) {
      out.end = offset + 8;
      return word.sealed_ids() == out.ids;
    }
    bool ready = word.state() == RecordState::ready;
    std::uint64_t extent = ready || word.state() == RecordState::done ? page.extent(offset, word) : 0;
    if (!extent) return false;
    if (ready) weigh_item(kind, page, offset, word, out);
    out.ids += word.ids(), offset += extent;
  }
  return false;
}

std::uint64_t end_of(const PageView& page) {
  Hint tail{page.header->tail.load(std::memory_order_acquire)};
  std::uint64_t offset = tail.offset() ? tail.offset() : kFirstRecord;
  while (page.holds(offset)) {
    RecordWord word{page.word(offset).load(std::memory_order_acquire)};
    if (word.state() == RecordState::seal) return id_of(page, word.sealed_ids());
    std::uint64_t extent = word.raw ? page.extent(offset, word) : 0;
    if (!extent) return 0;
    offset += extent;
  }
  return 0;
}

Result<std::shared_ptr<const SpilledPage>> lay_out_row(const std::string& pond, LaneKind kind,
                                                       const TierRow& row) {
  auto damaged = [&](const char* what) {
    return Status(Code::corruption, "pond " + pond + ": the row of stream " + std::to_string(row.stream) +
                                        " in the durable tier with ids " + std::to_string(row.first) +
                                        " to " + std::to_string(row.last) + ' ' + what);
  };
  ImageHeader image{};
  if (row.bytes.size() < sizeof image + 8 || row.bytes.size() % 8) return damaged("is no image of a page");
  std::memcpy(&image, row.bytes.data(), sizeof image);
  if (image.format != kImageFormat)
    return Status(Code::unsupported, "pond " + pond + ": a row of the durable tier has format " +
                                         std::to_string(image.format) + ": upgrade headpond");
  auto out = std::make_shared<SpilledPage>();
  std::uint64_t bytes = kFirstRecord + row.bytes.size() - sizeof image;
  out->memory = std::make_unique_for_overwrite<std::uint64_t[]>(bytes / 8);
  char* base = reinterpret_cast<char*>(out->memory.get());
  std::memset(base, 0, kFirstRecord);
  std::memcpy(base + kFirstRecord, row.bytes.data() + sizeof image, bytes - kFirstRecord);
  out->stream = row.stream, out->first = row.first, out->last = row.last;
  out->view = {Reference{}, reinterpret_cast<PageHeader*>(base), base, bytes};
  out->view.header->first_seq.store(row.first, std::memory_order_relaxed);
  if (!weigh(kind, out->view, out->weight)) return damaged("has records that do not lie end to end");
  if (out->weight.end != bytes || out->weight.ids != row.last - row.first + 1)
    return damaged("has another number of ids than it says");
  return std::shared_ptr<const SpilledPage>(std::move(out));
}

/// Of the row that holds `seq`, else, where ids may be missing, of the next one.
static Result<TierRow> load_at(Tier& tier, const Lane& lane, std::uint64_t id, std::uint64_t seq) {
  std::uint64_t until = sys::precise_us() + kReadPatienceUs;
  auto row = tier.load_holding(id, seq, until);
  std::uint64_t dense = lane.words.dense_from.load(std::memory_order_acquire);
  if (row || row.code() != Code::not_found || seq >= dense) return row;
  row = tier.load_from(id, seq, until);
  if (row && row->first > dense) return Code::not_found;  // that of dense_from itself is gone
  return row;
}

Result<std::shared_ptr<const SpilledPage>> read_row(Lane& lane, std::uint64_t seq, bool cached) {
  TierSide& side = lane.me.pond->tier_side();
  std::uint64_t id = TierSide::id_if_current(lane);
  if (!id) return Code::not_found;
  if (cached)
    if (auto row = side.cached(id, seq)) return row;
  auto tier = side.tier(lane.me);
  if (!tier) return tier.status();
  auto loaded = load_at(**tier, lane, id, seq);
  if (!loaded) return loaded.status();
  auto row = lay_out_row(lane.me.pond->name(), lane.kind(), *loaded);
  if (row && cached) side.cache(*row);
  return row;
}

Code for_each_spilled(
    Lane& lane, std::uint64_t from, std::uint64_t to,
    const std::function<bool(const PageView&, std::uint64_t, RecordWord, std::uint64_t)>& visit) {
  while (from < to) {
    auto row = read_row(lane, from, lane.is_log());
    if (!row) return row.code() == Code::not_found ? Code::not_found : lane.failed(row.status());
    const PageView& view = (*row)->view;
    std::uint64_t id = (*row)->first;
    if (id >= to) return Code::ok;  // ids that are missing, up to the end of the gap
    for (std::uint64_t offset = kFirstRecord; id <= (*row)->last;) {
      RecordWord word{view.word(offset).load(std::memory_order_relaxed)};
      if (id >= from && !visit(view, offset, word, id)) return Code::ok;
      offset += view.extent(offset, word), id += word.ids();
    }
    from = (*row)->last + 1;
  }
  return Code::ok;
}

Code row_not_found(Lane& lane, std::uint64_t version, std::uint64_t from, std::uint64_t to) {
  if (lane.words.gap_version.load(std::memory_order_acquire) != version || !lane.current() ||
      (lane.is_log() && lane.stream.trimmed.load(std::memory_order_acquire) > from))
    return Code::busy;
  // Of a parked lane that has come back, ids at the end may have no row; that none is lost says the gap's count, once they are brought back.
  if (!lane.is_log() && to <= lane.words.dense_from.load(std::memory_order_acquire)) return Code::ok;
  return missing_row(lane, from, to);
}

Code missing_row(Lane& lane, std::uint64_t from, std::uint64_t to) {
  return lane.failed(Status(
      Code::corruption,
      "pond " + lane.me.pond->name() + ": stream " + std::to_string(lane.binding.index()) + ", lane " +
          std::to_string(lane.number) + ": ids " + std::to_string(from) + " to " + std::to_string(to - 1) +
          " were spilled, and the durable tier has no row of them; `headpond verify` shows more"));
}

}  // namespace headpond::internal
