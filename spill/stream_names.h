// The table of streams: what an id stands for, and up to where it is cleared. Every change is power-safe.
#pragma once

#include <mutex>
#include <set>
#include <span>
#include <vector>

#include "database.h"
#include "src/tier.h"

namespace headpond::internal {

class StreamNames {
 public:
  explicit StreamNames(Database& database) : database_(database) {}

  Status declare(std::span<const TierNames> names, std::uint64_t deadline_us);
  Status clear(std::span<const std::uint64_t> streams, std::uint64_t upto, std::uint64_t deadline_us);
  Status forget(std::span<const std::uint64_t> streams, std::uint64_t deadline_us);
  Result<std::vector<TierNames>> all(std::uint64_t deadline_us);
  /// Ok if it is declared, by whatever process; `invalid` if not.
  Status known(std::uint64_t stream, std::uint64_t deadline_us);

 private:
  Status declare_one(sqlite::Connection& connection, const TierNames& names);
  template <class Change>
  Status change_each(std::span<const std::uint64_t> streams, const char* doing, std::uint64_t deadline_us,
                     Change change, const Database::Work& also = {});

  Database& database_;
  std::mutex mutex_;
  std::set<std::uint64_t> known_;  // seen in the table; only this process' forget() takes one away
};

}  // namespace headpond::internal
