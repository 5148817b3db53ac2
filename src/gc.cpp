#include "gc.h"

#include <algorithm>
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

struct Ended {
  const Key* key;
  Parked kept;
};

/// Of logs that are ending, or of which there are none.
std::vector<Orphan> orphans_of(std::span<const Directory::Listed> entries, std::span<const Ended> logs) {
  std::map<std::string, std::uint64_t> last_use;
  for (const Ended& log : logs) last_use[log.key->encoded()] = log.kept.last_use;
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
  Directory directory(me);
  auto entries = directory.list();
  if (!entries) return entries.status();
  std::uint64_t now = sys::coarse_us();
  std::vector<Ended> logs;
  auto finish = [&](const Ended& ended) -> Status {
    if (Status finished = finish_clear(me, *ended.key, ended.kept, false); !finished) return finished;
    out.dropped++, out.dropped_items += ended.kept.items();
    return {};
  };
  for (const Directory::Listed& entry : *entries) {
    if (!entry.stream.is_parked() || entry.parked.last_use + idle_us > now) continue;
    auto kept = begin_clear(me, entry.key, entry.parked.last_use);
    if (!kept && kept.code() != Code::busy) return kept.status();
    if (!kept) continue;
    Ended ended{&entry.key, std::move(*kept)};
    if (entry.key.kind == Kind::log)
      logs.push_back(std::move(ended));
    else if (Status finished = finish(ended); !finished)
      return finished;
  }
  if (logs.empty()) return {};
  if (Status dropped = drop_orphans(me, orphans_of(*entries, logs)); !dropped) return dropped;
  for (const Ended& log : logs)
    if (Status finished = finish(log); !finished) return finished;
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
