#include "park.h"

#include <algorithm>
#include <memory>
#include <set>

#include "directory.h"
#include "each.h"
#include "group_commit.h"
#include "page_copy.h"
#include "pages.h"
#include "park_stream.h"
#include "section.h"
#include "spill.h"
#include "tier_side.h"
#include "unlink.h"

namespace headpond::internal {

namespace {

// A transaction's worth.
constexpr std::size_t kStreamsAtOnce = 1024;
constexpr std::uint64_t kBytesAtOnce = 1 << 20;
// Who is short of memory leaves alone the few that were used last, if that was just now: they would be back at once, perhaps by himself.
constexpr std::uint64_t kHotUs = 10'000;
constexpr std::size_t kHotStreams = 8;

/// Streams with something posted that waits for the disk.
Result<std::set<std::uint64_t>> posted(ThreadContext& me) {
  std::set<std::uint64_t> out;
  auto end = end_of_posts(me);
  if (!end) return end.status();
  auto any = any_posted(me, *end, [&](const PostEntry& post) { return out.insert(post.stream.raw), false; });
  if (!any) return any.status();
  return out;
}

/// What was posted of these streams is written first: it names them by their descriptors.
Status flush_posts_of(ThreadContext& me, std::span<const Idle> streams) {
  auto waiting = posted(me);
  if (!waiting) return waiting.status();
  bool any = std::any_of(streams.begin(), streams.end(),
                         [&](const Idle& idle) { return waiting->count(idle.stream.raw) != 0; });
  if (!any) return {};
  return flush_posts(me, sys::precise_us() + kStorePatienceUs,
                     [&](const PostEntry& post) { return waiting->count(post.stream.raw) != 0; });
}

using Batch = std::vector<std::unique_ptr<LeavingStream>>;

/// What does not pass goes back.
template <class Pass>
void keep_if(Batch& batch, ParkCount& out, Pass pass) {
  std::erase_if(batch, [&](auto& stream) {
    if (pass(*stream)) return false;
    stream->give_back();
    out.busy++;
    return true;
  });
}

Status store(ThreadContext& me, Batch& batch) {
  std::vector<Lane*> lanes;
  for (auto& stream : batch)
    for (Lane* lane : stream->lanes_with_rows()) lanes.push_back(lane);
  TierSide& side = me.pond->tier_side();
  if (Status declared = side.declare(me, lanes); !declared) return declared;
  // Who clears one from here on finds its name, and marks it.
  for (Lane* lane : lanes)
    if (!TierSide::id_if_current(*lane)) return Code::not_found;
  std::vector<TierPage> pages;
  std::vector<TierKept> whole;
  std::uint64_t now = sys::wall_ms();
  for (auto& stream : batch) stream->rows(now, pages, whole);
  if (pages.empty() && whole.empty()) return {};
  auto tier = side.tier(me);
  return tier ? (*tier)->store_whole(pages, whole, sys::precise_us() + kStorePatienceUs) : tier.status();
}

Status park_batch(ThreadContext& me, Batch& batch, ParkCount& out) {
  keep_if(batch, out, [](LeavingStream& stream) { return stream.copy(); });
  // A pin is stored before the ack, and the ack was seen: so is the pin.
  std::vector<std::uint32_t> pinned = pinned_pages(me.pond->segment());
  keep_if(batch, out, [&](LeavingStream& stream) { return !stream.pinned(pinned); });
  Status stored = store(me, batch);
  if (!stored) {
    keep_if(batch, out, [](LeavingStream&) { return false; });
    return stored.code() == Code::not_found ? Status() : stored;  // one of them was cleared meanwhile
  }
  keep_if(batch, out, [](LeavingStream& stream) { return stream.take(); });
  auto waiting = posted(me);
  Status held = waiting.status();
  keep_if(batch, out, [&](LeavingStream& stream) {
    if (!held || waiting->count(stream.stream().raw)) return false;
    auto tombed = stream.tomb();
    if (!tombed) held = tombed.status();
    return tombed.ok() && *tombed;
  });
  for (auto& stream : batch) {
    if (Status finished = finish_park(me, stream->stream()); !finished) held = finished;
    std::uint64_t state =
        me.pond->segment().stream(stream->stream().index()).state.load(std::memory_order_acquire);
    auto now = static_cast<StreamState>(state & 0xff);
    bool cleared = state >> 28 == stream->stream().generation() &&
                   (now == StreamState::clearing || now == StreamState::tombed);
    if (cleared) {
      stream->give_back(), out.busy++;
    } else {
      out.streams++, out.items += stream->items(), out.bytes += stream->page_bytes();
    }
  }
  recycle(me, {});
  return held;
}

/// Most of a stream that is too much for one transaction.
Status spill_most(ThreadContext& me, Binding stream) {
  for (int n = 0; n < kLanes; n++) {
    if (n == kDelayedLane) continue;
    Spilled out;
    for (std::uint64_t before = ~0ULL; before != out.bytes;) {
      before = out.bytes;
      Lane lane(me, stream, n);
      if (Code code = spill_lane(lane, SpillFrom::any, ~0ULL, out); code != Code::ok)
        return lane.error.ok() ? Status(code) : lane.error;
    }
  }
  return {};
}

}  // namespace

Status park(ThreadContext& me, std::span<const Idle> streams, ParkCount& out) {
  if (Status flushed = flush_posts_of(me, streams); !flushed) return flushed;
  Batch batch;
  std::uint64_t bytes = 0;
  auto give_back = [&](Status why) {  // what is marked by now
    keep_if(batch, out, [](LeavingStream&) { return false; });
    return why;
  };
  for (std::size_t i = 0; i <= streams.size(); i++) {
    if (i == streams.size() || batch.size() == kStreamsAtOnce || bytes >= kBytesAtOnce) {
      if (Status parked = batch.empty() ? Status() : park_batch(me, batch, out); !parked) return parked;
      batch.clear(), bytes = 0;
    }
    if (i == streams.size()) break;
    auto leaving = std::make_unique<LeavingStream>(me, streams[i].stream, streams[i].last_use);
    auto marked = leaving->mark();
    if (marked && !*marked && leaving->too_large()) {
      leaving->give_back();
      if (Status spilled = spill_most(me, streams[i].stream); !spilled) return give_back(spilled);
      leaving = std::make_unique<LeavingStream>(me, streams[i].stream, streams[i].last_use);
      marked = leaving->mark();
    }
    if (marked && *marked) {
      bytes += leaving->page_bytes();
      batch.push_back(std::move(leaving));
      continue;
    }
    leaving->give_back();
    out.busy++;
    // Half parked, perhaps: who was at it is stopped, or was held up.
    if (!marked) return give_back(marked.status());
    if (Status finished = finish_park(me, streams[i].stream); !finished) return give_back(finished);
  }
  return {};
}

std::vector<Idle> idle_streams(ThreadContext& me, std::uint64_t idle_us) {
  Segment& segment = me.pond->segment();
  std::uint64_t now = sys::coarse_us(),
                used = std::min(segment.header().descriptors_used.load(std::memory_order_acquire),
                                segment.reserved(Table::streams));
  std::vector<Idle> out;
  for (std::uint32_t i = 0; i < used; i++) {
    StreamWords& words = segment.stream(i);
    std::uint64_t state = words.state.load(std::memory_order_acquire);
    auto kind = static_cast<Kind>(state >> 8 & 0xff);
    if (static_cast<StreamState>(state & 0xff) != StreamState::live ||
        (kind != Kind::queue && kind != Kind::log))
      continue;
    note_use(words, now);
    std::uint64_t last = words.last_use.load(std::memory_order_acquire);
    if (last + idle_us <= now) out.push_back({Binding::make(i, state >> 28), last});
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Idle& a, const Idle& b) { return a.last_use < b.last_use; });
  return out;
}

Status park_some(ThreadContext& me, std::uint64_t bytes, ParkCount& out) {
  std::vector<Idle> idle = idle_streams(me, 0);
  std::uint64_t now = sys::coarse_us();
  for (std::size_t n = 0; n < kHotStreams && !idle.empty() && idle.back().last_use + kHotUs > now; n++)
    idle.pop_back(), out.busy++;
  for (std::size_t at = 0; at < idle.size() && out.bytes < bytes;) {
    std::size_t n =
        std::min<std::size_t>(idle.size() - at, std::max<std::uint64_t>((bytes - out.bytes) / kUnit, 8));
    if (Status parked = park(me, std::span(idle).subspan(at, n), out); !parked) return parked;
    at += n;
  }
  return {};
}

// ------------------------------------------------------------------------------------------------------------------- 6 and 7

namespace {

/// In the section of a lane that ends in a tomb: what it comes to. Its records are SPILLING or, in a log, READY until it is PARKED.
ParkedLane measure(const Lane& lane) {
  ParkedLane out{lane.number, 0, 0, 0, 0};
  std::uint64_t trimmed = lane.is_log() ? lane.stream.trimmed.load(std::memory_order_acquire) : 0;
  Hops hops(lane.segment);
  for (PageView page = in_section(lane, Reference{lane.words.first.load(std::memory_order_acquire)});
       page && !hops.too_many();) {
    std::uint64_t id = id_of(page, 0);
    if (!out.first) out.first = id;
    for (std::uint64_t offset = kFirstRecord; page.holds(offset);) {
      RecordWord word{page.word(offset).load(std::memory_order_acquire)};
      std::uint64_t extent = word.raw && word.state() != RecordState::seal ? page.extent(offset, word) : 0;
      if (!extent) break;
      if (word.state() == RecordState::spilling || word.state() == RecordState::ready) {
        out.items++, out.bytes += own_bytes(lane.kind(), page, offset, word);
      }
      offset += extent, id += word.ids();
    }
    // A page that was trimmed as a whole has no row.
    if (trimmed >= id && out.items) out.items = out.bytes = 0;
    out.next = id;
    Reference next{page.header->next.load(std::memory_order_acquire)};
    if (next.gap()) {
      out.items += page.header->gap_items.load(std::memory_order_relaxed);
      out.bytes += page.header->gap_bytes.load(std::memory_order_relaxed);
    }
    page = in_section(lane, next);
  }
  // What was trimmed within a gap is in its counts yet.
  if (std::uint64_t from = std::max(out.first, trimmed), most = out.next - std::min(out.next, from);
      trimmed && out.items > most)
    out.bytes = out.bytes * most / out.items, out.items = most;
  return out;
}

/// Not all of them end in a tomb: nothing to be done, and nothing is measured.
Result<std::optional<std::vector<ParkedLane>>> measure_tombed(ThreadContext& me, Binding stream) {
  auto section = Section::enter(me, stream_section(stream.index()));
  if (!section) return section.status();
  std::vector<ParkedLane> lanes;
  bool all = true;
  for (int n = 0; n < kLanes && all; n++) {
    Lane lane(me, stream, n);
    all = lane.current() && ends_in_tomb(lane);
    if (all && !Reference{lane.words.first.load(std::memory_order_acquire)}.is_tomb())
      lanes.push_back(measure(lane));
  }
  section->leave();
  if (!all) return std::optional<std::vector<ParkedLane>>();
  return std::optional(std::move(lanes));
}

}  // namespace

Status finish_park(ThreadContext& me, Binding stream) {
  me.pond->touch(stream.index());
  auto lanes = measure_tombed(me, stream);
  if (!lanes) return lanes.status();
  if (*lanes) {
    auto parked = Directory(me).park(stream, **lanes);
    if (!parked) return parked.status();
  }
  sweep_parked(me, stream);
  return {};
}

void sweep_parked(ThreadContext& me, Binding stream) {
  Segment& segment = me.pond->segment();
  StreamWords& words = segment.stream(stream.index());
  std::uint64_t state = words.state.load(std::memory_order_acquire);
  if (state >> 28 != stream.generation() || static_cast<StreamState>(state & 0xff) != StreamState::parked)
    return;
  if (auto settled = Directory(me).is_settled(stream, StreamState::parked); !settled || !*settled) return;
  me.pond->touch(stream.index());
  for (int n = 0; n < kLanes; n++) {
    Lane lane(me, stream, n);
    lane.any_state = true;
    if (Reference{lane.words.first.load(std::memory_order_acquire)}.is_tomb()) continue;
    {
      Unpin unpin{lane};
      auto settle = [&](const PageView& page, std::uint64_t offset, RecordWord word, std::uint64_t) {
        std::uint64_t expected = word.raw;
        if (word.state() == RecordState::spilling)
          page.word(offset).compare_exchange_strong(expected, word.acked().raw, std::memory_order_acq_rel);
        return Visit::go_on;
      };
      PageView at;
      (void)for_each_record(
          lane, [&](const PageView& page) { return at = page, true; }, settle,
          [&] {
            Word& life = segment.life(at.reference.page()).life;
            LifeWord now{life.load(std::memory_order_acquire)};
            if (now.generation() == at.reference.generation() && now.state() == LifeState::spilling)
              life.compare_exchange_strong(now.raw, now.with(LifeState::linked, 0).raw,
                                           std::memory_order_acq_rel);
          });
    }
    unlink_done(lane);
  }
  (void)Directory(me).free_descriptor(stream);
  ring(segment, words.bell, Wake::all), ring(segment, words.space_bell, Wake::all);
}

}  // namespace headpond::internal
