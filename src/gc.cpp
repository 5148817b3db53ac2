#include "gc.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <span>

#include "directory.h"
#include "park.h"
#include "settings.h"
#include "tier_side.h"
#include "unpark.h"

namespace headpond::internal {

namespace {

std::uint64_t us(milliseconds time) { return static_cast<std::uint64_t>(time.count()) * 1000; }

/// Of logs that are ending, or of which there are none.
std::vector<Orphan> orphans_of(std::span<const Directory::Listed> entries, std::span<const Ending> logs) {
  std::map<std::string, std::uint64_t> last_use;
  for (const Ending& log : logs) last_use[log.key->encoded()] = log.kept.last_use;
  std::vector<Orphan> out;
  for (const Directory::Listed& entry : entries) {
    if (entry.key.kind != Kind::cursor) continue;
    auto log = last_use.find(entry.key.log_key().encoded());
    out.push_back({entry.key, log == last_use.end() ? std::nullopt : std::optional(log->second)});
  }
  return out;
}

/// Parked names that were last used that long ago. What is used meanwhile stays. A log's cursors go while it is ending, all in one commit: who is killed
/// among them leaves a name that is ending, which the next one finds.
Status drop_parked(ThreadContext& me, std::uint64_t idle_us, GcResult& out) {
  auto entries = Directory(me).list();
  if (!entries) return entries.status();
  const std::uint64_t now = sys::coarse_us();
  std::vector<ToClear> some;
  std::vector<Ending> ending, logs;
  auto finish = [&](std::span<const Ending> ended) {
    std::size_t finished = 0;
    Status done = finish_clear(me, ended, false, finished);
    for (const Ending& name : ended.first(finished)) out.dropped++, out.dropped_items += name.kept.items();
    return done;
  };
  auto drop_some = [&]() -> Status {
    ending.clear();
    Status begun = begin_clear(me, some, ending);
    some.clear();
    if (!begun) return begun;
    auto is_queue = [](const Ending& name) { return name.key->kind != Kind::log; };
    auto queues_end = std::stable_partition(ending.begin(), ending.end(), is_queue);
    logs.insert(logs.end(), std::move_iterator(queues_end), std::move_iterator(ending.end()));
    ending.erase(queues_end, ending.end());
    return finish(ending);
  };
  for (const Directory::Listed& entry : *entries) {
    if (!entry.stream.is_parked() || entry.parked.last_use + idle_us > now) continue;
    some.push_back({&entry.key, entry.parked.last_use});
    if (some.size() < kClearedAtOnce) continue;
    if (Status dropped = drop_some(); !dropped) return dropped;
  }
  if (Status dropped = drop_some(); !dropped || logs.empty()) return dropped;
  if (Status dropped = drop_orphans(me, orphans_of(*entries, logs)); !dropped) return dropped;
  for (std::size_t at = 0; at < logs.size(); at += kClearedAtOnce)
    if (Status dropped = finish(std::span(logs).subspan(at, std::min(kClearedAtOnce, logs.size() - at)));
        !dropped)
      return dropped;
  return {};
}

}  // namespace

Status check_gc(const GcOptions& options) {
  constexpr milliseconds most = std::chrono::hours(24 * 3650);
  for (milliseconds limit : {options.spill_idle, options.drop_idle})
    if (limit.count() < 0 || limit > most)
      return {Code::invalid, "spill_idle and drop_idle must be 0, or from 1 ms to 10 years"};
  return {};
}

Result<GcResult> collect_idle(ThreadContext& me, const GcOptions& options) {
  if (Status good = check_gc(options); !good) return good;
  GcResult out;
  std::uint64_t spill = us(options.spill_idle), drop = us(options.drop_idle);
  std::uint64_t limit = spill && drop ? std::min(spill, drop) : std::max(spill, drop);
  if (limit == 0) return out;
  ParkCount parked;
  std::vector<Idle> idle = idle_streams(me, limit);
  Status done = park(me, idle, parked);
  out.parked = parked.streams, out.parked_items = parked.items, out.freed_bytes = parked.bytes,
  out.busy = parked.busy;
  if (!done) return done;
  if (drop)
    if (Status dropped = drop_parked(me, drop, out); !dropped) return dropped;
  if (Status saved = save_unsaved(me, sys::precise_us() + kStorePatienceUs, NoTier::leave_it); !saved)
    me.pond->say(Severity::warning,
                 "pond " + me.pond->name() + ": settings and cursors cannot be saved yet: " + saved.text());
  return out;
}

}  // namespace headpond::internal
