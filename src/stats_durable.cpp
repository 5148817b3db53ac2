#include "attachment.h"
#include "headpond/pond.h"
#include "posting.h"
#include "stats.h"
#include "tier_side.h"

namespace headpond::internal {

DurableStats durable_stats(ThreadContext& me) {
  const Header& header = me.pond->segment().header();
  DurableStats out;
  out.used = header.tier_store.load(std::memory_order_acquire) != 0;
  if (!out.used) return out;
  out.commits = header.durable_lsn.load(std::memory_order_relaxed);
  out.commit_time = std::chrono::microseconds(header.commit_us.load(std::memory_order_relaxed));
  out.last_commit = header.commit_records.load(std::memory_order_relaxed);
  out.waiting = posts_waiting(me);
  auto tier = me.pond->tier_side().tier(me);
  if (!tier) {
    out.trouble = tier.status();
    return out;
  }
  TierFigures figures = (*tier)->figures();
  out.file_bytes = figures.file_bytes, out.wal_bytes = figures.wal_bytes, out.free_bytes = figures.free_bytes;
  out.trouble = std::move(figures.upkeep);
  return out;
}

}  // namespace headpond::internal
