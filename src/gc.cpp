#include "gc.h"

#include <algorithm>

#include "directory.h"
#include "park.h"
#include "settings.h"
#include "tier_side.h"
#include "unpark.h"

namespace headpond::internal {

namespace {

std::uint64_t us(milliseconds time) { return static_cast<std::uint64_t>(time.count()) * 1000; }

/// Parked names that were last used that long ago. What is used meanwhile stays.
Status drop_parked(ThreadContext& me, std::uint64_t idle_us, GcResult& out) {
  Directory directory(me);
  auto entries = directory.list();
  if (!entries) return entries.status();
  std::uint64_t now = sys::coarse_us();
  bool logs = false;
  std::vector<Key> cursors;
  for (const Directory::Listed& entry : *entries) {
    if (!entry.stream.is_parked() || entry.parked.last_use + idle_us > now) continue;
    auto dropped = clear_parked(me, entry.key, false, entry.parked.last_use);
    if (!dropped && dropped.code() != Code::busy) return dropped.status();
    if (!dropped) continue;
    out.dropped++, out.dropped_items += *dropped;
    logs = logs || entry.key.kind == Kind::log;
  }
  for (Directory::Listed& entry : *entries)
    if (logs && entry.key.kind == Kind::cursor) cursors.push_back(std::move(entry.key));
  return drop_cursors(me, cursors, Which::orphans);
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
