// This process's side of the durable tier: opened when it is first needed, which streams were declared, rows that can go.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "due_rows.h"
#include "lane.h"
#include "tier.h"

namespace headpond::internal {

/// How long an operation waits for the tier: behind a stopped process it is `timeout`, not a hang.
constexpr std::uint64_t kReadPatienceUs = 200'000, kStorePatienceUs = 800'000;

constexpr std::uint64_t kAllIds = (1ULL << 63) - 1;

struct SpilledPage;

/// Safe from every thread. Nothing here opens the tier but tier().
class TierSide {
 public:
  explicit TierSide(std::string folder) : folder_(std::move(folder)) {}

  /// The tier; opens it, and makes it if the pond never had one. Any answer of open_tier(); the next call tries again.
  Result<Tier*> tier(ThreadContext& me);
  /// A fresh segment begins with this tier, and gives the next streams ids above `stream_ids`. REQUIRES: nobody else has the segment.
  static void begin_with(Segment& segment, const TierIdentity& identity, std::uint64_t stream_ids);
  /// Takes this one for the pond's: who rebuilt it, and tests.
  void use(std::shared_ptr<Tier> tier);

  /// The id of a lane in the tier, given and declared if it has none. `not_found`: the stream is gone.
  Result<std::uint64_t> declared_id(Lane& lane);
  /// The same for many lanes, in one transaction.
  Status declare(ThreadContext& me, std::span<Lane* const> lanes);
  /// The same if it has one; 0: none. REQUIRES: the caller keeps a page of the lane from going: else the descriptor may be another stream's by now.
  static std::uint64_t id_of(const Lane& lane) {
    std::uint64_t id = lane.stream.id.load(std::memory_order_acquire);
    return id ? id << 4 | static_cast<std::uint64_t>(lane.number) : 0;
  }
  /// The same for anybody; 0: none, or the stream is over or parked.
  static std::uint64_t id_if_current(const Lane& lane) {
    std::uint64_t id = id_of(lane);
    return lane.current() ? id : 0;  // looked at behind the id
  }

  /// This row's page was unlinked with all its items done. Erased with others, later; killed before, it is left over.
  void forget(std::uint64_t stream, std::uint64_t first);
  /// Erases what was forgotten, if there is enough of it or `all`. An error is said, and the rows are kept for the next time.
  void erase_forgotten(ThreadContext& me, bool all);

  using Streams = std::span<const std::uint64_t>;
  /// Power-safe: rows of these streams, as the tier knows them, with ids up to this one are leftovers from here on. `not_found`: none is declared.
  /// 0: changes nothing, but tells whether the tier could.
  Status mark_cleared(ThreadContext& me, Streams streams, std::uint64_t upto = kAllIds);
  /// Erases all their rows.
  Status erase_rows(ThreadContext& me, Streams streams);
  /// The same, then forgets their names. `not_found`: they were forgotten before. REQUIRES: marked, and nobody can store a row of them any more.
  Status forget_streams(ThreadContext& me, Streams streams);

  /// Rows were erased, by others than erase_forgotten() and erase_rows(): give_back_disk() will look.
  void note_erased() { erased_.store(true, std::memory_order_relaxed); }
  /// If this process has erased rows since it looked last: gives disk space back where the tier's files are mostly empty, which may take
  /// some 0.3 s a GiB. For who has nothing else to do. What fails is tried again by the next look; a tier that others use is left alone.
  void give_back_disk();

  /// A participant died: it may have left rows over.
  void note_death() { deaths_.store(true, std::memory_order_relaxed); }
  bool take_death() { return deaths_.load(std::memory_order_relaxed) && deaths_.exchange(false); }

  /// This process has changed a setting or cursor which is not in the tier: it is saved before the process leaves.
  void note_unsaved() { unsaved_.store(true, std::memory_order_relaxed); }
  bool take_unsaved() { return unsaved_.exchange(false, std::memory_order_relaxed); }
  /// Once a second at most: for the maintenance thread.
  bool save_is_due();

  /// Rows of logs that were read last: they never change. Null: not there.
  std::shared_ptr<const SpilledPage> cached(std::uint64_t stream, std::uint64_t seq);
  void cache(std::shared_ptr<const SpilledPage> row);
  /// What is known of rows of delayed items.
  DueRows& due_rows() { return due_rows_; }

 private:
  static Result<std::uint64_t> give_id(Lane& lane);
  bool is_declared(std::uint64_t id);
  static Result<TierNames> names_of(Lane& lane, std::uint64_t id);
  Status remember_identity(ThreadContext& me, Tier& tier, bool known);

  struct Forgotten {
    std::uint64_t stream, first;
  };
  std::string folder_;
  std::mutex opening_;
  std::shared_ptr<Tier> kept_;
  std::atomic<Tier*> tier_{nullptr};
  std::mutex mutex_;
  std::set<std::uint64_t> declared_;
  std::vector<Forgotten> forgotten_;
  std::atomic<std::size_t> forgotten_count_{0};
  std::atomic<std::uint64_t> erase_again_us_{0};
  std::atomic<std::uint64_t> save_again_us_{0};
  std::atomic<bool> deaths_{false}, erased_{false}, unsaved_{false};
  std::array<std::shared_ptr<const SpilledPage>, 8> cache_;
  std::size_t next_in_cache_ = 0;
  DueRows due_rows_;
};

}  // namespace headpond::internal
