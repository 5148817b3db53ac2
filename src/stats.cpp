#include "stats.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "attachment.h"
#include "count.h"
#include "each.h"
#include "headpond/pond.h"
#include "pages.h"
#include "park.h"
#include "pond_access.h"

namespace headpond::internal {

namespace {

/// In the present stream. One that a rebuild made goes on above all that came back, which is no push of its own.
std::uint64_t ids_given(std::uint64_t first_id, std::uint64_t next) {
  return next - std::min(next, first_id);
}

}  // namespace

Code queue_stats(ThreadContext& me, Binding stream, QueueStats& out, Status& error) {
  out = {};
  StreamWords& words = me.pond->segment().stream(stream.index());
  std::uint32_t lanes = words.lanes.load(std::memory_order_acquire) | 1,
                policy = words.policy.load(std::memory_order_relaxed);
  std::uint64_t first_id = words.first_id.load(std::memory_order_relaxed), oldest = 0;
  for (int n = 0; n < kLanes; n++) {
    if (!(lanes >> n & 1)) continue;
    Lane lane(me, stream, n);
    LaneCount count;
    if (Code code = count_lane(lane, true, count); code != Code::ok)
      return error = std::move(lane.error), code;
    out.payload_bytes += count.payload_bytes, out.page_bytes += count.page_bytes,
        out.spilled += count.spilled, out.spilled_bytes += count.spilled_bytes, out.gaps += count.gaps;
    if (n == kDelayedLane)
      out.delayed += count.ready + count.claimed;
    else if (n == kDeadLane)
      out.dead += count.ready + count.claimed;
    else
      out.ready += count.ready, out.claimed += count.claimed;
    if (n != kDeadLane) out.pushed += ids_given(first_id, count.next_id);
    if (n < kPriorities && count.oldest_us && (!oldest || count.oldest_us < oldest)) oldest = count.oldest_us;
  }
  std::uint64_t now = sys::coarse_us();
  out.oldest_age = milliseconds(oldest && oldest < now ? (now - oldest) / 1000 : 0);
  out.paused = policy & kPaused, out.draining = policy & kDraining;
  return Code::ok;
}

Code log_stats(ThreadContext& me, Binding stream, LogStats& out, Status& error) {
  out = {};
  Lane lane(me, stream, 0);
  Unpin unpin{lane};
  std::uint64_t seen = 0;
  bool readable = true;
  out.trimmed = lane.stream.trimmed.load(std::memory_order_acquire);
  Code code = for_each_record(
      lane,
      [&](const PageView& page) {
        if (id_of(page, 0) > seen || !seen) out.page_bytes += page.bytes;
        seen = std::max(seen, id_of(page, 0) - 1);  // what was before is trimmed
        return true;
      },
      [&](const PageView& page, std::uint64_t offset, RecordWord word, std::uint64_t id) {
        if (word.state() == RecordState::writing) readable = false;
        if (!readable) return Visit::stop;
        if (id <= seen) return Visit::go_on;
        seen = id + word.ids() - 1;
        out.last_seq = seen;
        if (word.state() == RecordState::done || id < out.trimmed) return Visit::go_on;
        if (!out.first_seq) out.first_seq = id;
        out.records++, out.payload_bytes += page.payload(offset, word).size();
        return Visit::go_on;
      },
      [] {},
      [&](const GapAhead& gap, const PageView& behind) {
        std::uint64_t begin = seen + 1, end = id_of(behind, 0);
        if (end <= begin || !readable) return Code::ok;
        out.last_seq = seen = end - 1;
        out.gaps++;
        std::uint64_t live = std::min(gap.items, end - std::min(end, std::max(begin, out.trimmed)));
        if (!live) return Code::ok;
        if (!out.first_seq) out.first_seq = std::max(begin, out.trimmed);
        std::uint64_t bytes = gap.bytes * live / gap.items;
        out.records += live, out.spilled += live, out.payload_bytes += bytes, out.spilled_bytes += bytes;
        return Code::ok;
      });
  if (!out.last_seq) out.last_seq = lane.stream.first_id.load(std::memory_order_relaxed) - 1;
  if (code == Code::corruption) error = std::move(lane.error);
  return code == Code::not_found && !lane.current() ? code : code == Code::corruption ? code : Code::ok;
}

Recovered pond_recovered(const Attachment& pond) noexcept {
  const RebuiltWords& words = pond.segment().header().rebuilt;
  auto get = [](const Word& word) { return word.load(std::memory_order_relaxed); };
  Recovered out;
  out.epoch = get(words.epoch), out.at_ms = static_cast<std::int64_t>(get(words.at_ms));
  out.streams = get(words.streams), out.rows = get(words.rows), out.items = get(words.items);
  out.payload_bytes = get(words.bytes), out.from_journal = get(words.from_journal);
  out.damaged_rows = get(words.damaged_rows), out.damaged_items = get(words.damaged_items);
  out.lost_records = get(words.lost_records), out.unknown_items = get(words.unknown_items);
  out.settings = get(words.settings), out.cursors = get(words.cursors);
  return out;
}

namespace {

/// From what a parked name keeps.
void parked_info(const Parked& parked, std::uint64_t now_us, StreamInfo& out) {
  out.parked = true;
  out.idle = milliseconds(parked.last_use < now_us ? (now_us - parked.last_use) / 1000 : 0);
  QueueStats& queue = out.queue;
  LogStats& log = out.log;
  for (const ParkedLane& lane : parked.lanes) {
    if (out.kind == StreamInfo::Kind::log) {
      log.records = log.spilled = lane.items, log.payload_bytes = log.spilled_bytes = lane.bytes;
      log.first_seq = lane.items ? std::max(lane.first, parked.trimmed) : 0, log.last_seq = lane.next - 1;
      continue;
    }
    (lane.number == kDeadLane ? queue.dead : queue.ready) += lane.items;
    queue.spilled += lane.items, queue.payload_bytes += lane.bytes, queue.spilled_bytes += lane.bytes;
    if (lane.number != kDeadLane) queue.pushed += ids_given(parked.first_id, lane.next);
  }
  log.trimmed = out.kind == StreamInfo::Kind::log ? parked.trimmed : 0;
  if (out.kind == StreamInfo::Kind::log && !log.last_seq) log.last_seq = parked.first_id - 1;
  queue.paused = parked.policy & kPaused, queue.draining = parked.policy & kDraining;
}

}  // namespace

Result<Stats> pond_stats(Attachment& pond) {
  if (Code usable = pond.usable(); usable != Code::ok) return usable;
  ThreadContext* me = pond.thread();
  if (!me) return Code::full;
  Segment& segment = pond.segment();
  Header& header = segment.header();
  Stats out;
  out.pond = pond.name(), out.limit_bytes = segment.limit_bytes();
  out.page_bytes = header.units_used.load(std::memory_order_relaxed) * kUnit;
  out.segment_bytes = segment.used_bytes();
  out.largest_free_bytes = largest_free_run(segment) * kUnit;
  out.max_participants = segment.max_participants();
  out.recovered = pond_recovered(pond), out.durable = durable_stats(*me);
  std::map<std::uint32_t, std::uint64_t> claims;

  auto entries = Directory(*me).list();
  if (!entries) return entries.status();
  std::uint64_t now_us = sys::coarse_us();
  for (auto& entry : *entries) {
    if (entry.key.kind != Kind::queue && entry.key.kind != Kind::log) continue;
    StreamInfo info;
    info.kind = entry.key.kind == Kind::queue ? StreamInfo::Kind::queue : StreamInfo::Kind::log;
    info.scope = entry.key.scope, info.name = entry.key.name, info.key = entry.key.key;
    if (entry.stream.is_parked()) {
      parked_info(entry.parked, now_us, info);
      out.streams++, out.parked++;
      out.details.push_back(std::move(info));
      continue;
    }
    StreamWords& words = segment.stream(entry.stream.index());
    note_use(words, now_us);
    std::uint64_t used = words.last_use.load(std::memory_order_relaxed);
    info.idle = milliseconds(used < now_us ? (now_us - used) / 1000 : 0);
    Status error;
    pond.touch(entry.stream.index());
    Code code = info.kind == StreamInfo::Kind::queue ? queue_stats(*me, entry.stream, info.queue, error)
                                                     : log_stats(*me, entry.stream, info.log, error);
    if (code == Code::not_found) continue;  // cleared meanwhile, or parked just now
    if (code != Code::ok) return error;
    if (info.kind == StreamInfo::Kind::queue && info.queue.claimed)
      for (int n = 0; n < kPriorities; n++) {
        Lane lane(*me, entry.stream, n);
        Unpin unpin{lane};
        (void)for_each_record(lane, [&](const PageView&, std::uint64_t, RecordWord word, std::uint64_t) {
          if (word.state() == RecordState::claimed) claims[word.owner()]++;
          return Visit::go_on;
        });
      }
    out.streams++;
    out.details.push_back(std::move(info));
  }
  std::sort(out.details.begin(), out.details.end(), [](const StreamInfo& a, const StreamInfo& b) {
    return std::tie(a.scope, a.kind, a.name, a.key) < std::tie(b.scope, b.kind, b.name, b.key);
  });
  std::uint64_t slots = std::min<std::uint64_t>(header.participants_used.load(std::memory_order_acquire),
                                                segment.max_participants() + 1);
  for (std::uint32_t slot = 1; slot <= slots; slot++) {
    ParticipantWords& words = segment.participant(slot);
    if (words.state.load(std::memory_order_acquire) != static_cast<std::uint32_t>(SlotState::live)) continue;
    std::uint64_t attached = words.attached_ms.load(std::memory_order_relaxed);
    out.workers.push_back({words.pid.load(std::memory_order_relaxed), slot, !pond.is_dead(slot), claims[slot],
                           milliseconds(attached < now_us / 1000 ? now_us / 1000 - attached : 0)});
    out.participants++;
  }
  return out;
}

}  // namespace headpond::internal

namespace headpond {

namespace {

bool utf8(const std::string& s) {
  try {
    (void)nlohmann::json(s).dump();
    return true;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

nlohmann::json text(const std::string& s) {
  if (utf8(s)) return s;
  static constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < s.size(); i += 3) {
    auto byte = [&](std::size_t k) { return k < s.size() ? static_cast<unsigned char>(s[k]) : 0u; };
    std::uint32_t group = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    out += digits[group >> 18 & 63];
    out += digits[group >> 12 & 63];
    out += i + 1 < s.size() ? digits[group >> 6 & 63] : '=';
    out += i + 2 < s.size() ? digits[group & 63] : '=';
  }
  return {{"base64", out}};
}

}  // namespace

std::string Stats::json() const {
  nlohmann::json j = {{"pond", pond},
                      {"limit_bytes", limit_bytes},
                      {"page_bytes", page_bytes},
                      {"segment_bytes", segment_bytes},
                      {"largest_free_bytes", largest_free_bytes},
                      {"streams", streams},
                      {"parked", parked},
                      {"participants", participants},
                      {"max_participants", max_participants}};
  if (recovered.epoch)
    j["recovered"] = {{"epoch", recovered.epoch},
                      {"at_ms", recovered.at_ms},
                      {"streams", recovered.streams},
                      {"rows", recovered.rows},
                      {"items", recovered.items},
                      {"payload_bytes", recovered.payload_bytes},
                      {"from_journal", recovered.from_journal},
                      {"damaged_rows", recovered.damaged_rows},
                      {"damaged_items", recovered.damaged_items},
                      {"lost_records", recovered.lost_records},
                      {"unknown_items", recovered.unknown_items},
                      {"settings", recovered.settings},
                      {"cursors", recovered.cursors}};
  if (durable.used) {
    j["durable"] = {{"file_bytes", durable.file_bytes},
                    {"wal_bytes", durable.wal_bytes},
                    {"free_bytes", durable.free_bytes},
                    {"commits", durable.commits},
                    {"commit_us", durable.commit_time.count()},
                    {"last_commit", durable.last_commit},
                    {"waiting", durable.waiting}};
    if (!durable.trouble) j["durable"]["trouble"] = text(durable.trouble.text());
  }
  j["workers"] = nlohmann::json::array();
  for (const WorkerInfo& w : workers)
    j["workers"].push_back({{"pid", w.pid},
                            {"slot", w.slot},
                            {"alive", w.alive},
                            {"claims", w.claims},
                            {"attached_ms", w.attached.count()}});
  j["queues"] = nlohmann::json::array(), j["logs"] = nlohmann::json::array();
  for (const StreamInfo& s : details) {
    if (s.kind == StreamInfo::Kind::queue)
      j["queues"].push_back({{"scope", text(s.scope)},
                             {"name", text(s.name)},
                             {"ready", s.queue.ready},
                             {"claimed", s.queue.claimed},
                             {"delayed", s.queue.delayed},
                             {"dead", s.queue.dead},
                             {"payload_bytes", s.queue.payload_bytes},
                             {"page_bytes", s.queue.page_bytes},
                             {"spilled", s.queue.spilled},
                             {"spilled_bytes", s.queue.spilled_bytes},
                             {"gaps", s.queue.gaps},
                             {"pushed", s.queue.pushed},
                             {"oldest_age_ms", s.queue.oldest_age.count()},
                             {"paused", s.queue.paused},
                             {"draining", s.queue.draining},
                             {"parked", s.parked},
                             {"idle_ms", s.idle.count()}});
    else
      j["logs"].push_back({{"scope", text(s.scope)},
                           {"ns", text(s.name)},
                           {"key", text(s.key)},
                           {"records", s.log.records},
                           {"payload_bytes", s.log.payload_bytes},
                           {"page_bytes", s.log.page_bytes},
                           {"spilled", s.log.spilled},
                           {"spilled_bytes", s.log.spilled_bytes},
                           {"gaps", s.log.gaps},
                           {"first_seq", s.log.first_seq},
                           {"last_seq", s.log.last_seq},
                           {"trimmed", s.log.trimmed},
                           {"parked", s.parked},
                           {"idle_ms", s.idle.count()}});
  }
  return j.dump();
}

}  // namespace headpond
