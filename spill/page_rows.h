// The table of pages: a row a page, by (stream, first).
//
// R1  A row's checksum covers everything in it but its rowid.
// R2  A store is one transaction, whatever it replaces.
// R3  A row of a stream is stored only after its names are: who cannot name a stream must call it damage, not debris.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "database.h"
#include "src/tier.h"

namespace headpond::internal {

class PageRows {
 public:
  explicit PageRows(Database& database) : database_(database) {}

  /// `whole`: streams that have nothing else afterwards but what they keep.
  Status store(std::span<const TierPage> pages, std::span<const TierKept> whole, std::uint64_t deadline_us);
  Result<TierRow> load(std::uint64_t stream, std::uint64_t first, std::uint64_t deadline_us);
  Result<TierRow> load_from(std::uint64_t stream, std::uint64_t at_least, std::uint64_t deadline_us);
  Result<TierRow> load_holding(std::uint64_t stream, std::uint64_t seq, std::uint64_t deadline_us);
  Status erase(std::uint64_t stream, std::span<const std::uint64_t> firsts, std::uint64_t deadline_us);
  Status erase_upto(std::span<const std::uint64_t> streams, std::uint64_t seq, std::uint64_t deadline_us);
  Result<TierTotals> totals(std::uint64_t stream, std::uint64_t first, std::uint64_t last,
                            std::uint64_t deadline_us);
  Status list(std::uint64_t stream, const std::function<Status(const TierSpan&)>& visit,
              std::uint64_t deadline_us);
  Result<std::vector<std::uint64_t>> streams(std::uint64_t deadline_us);
  Status barrier(std::uint64_t deadline_us);

  struct Counts {
    std::atomic<std::uint64_t> stored{0}, loaded{0}, bytes_stored{0}, bytes_kept{0};
  };
  const Counts& counts() const { return counts_; }

 private:
  Result<TierRow> load_one(const char* sql, std::uint64_t stream, std::uint64_t seq,
                           std::uint64_t deadline_us);
  Result<TierRow> checked(const sqlite::Query& row) const;

  Database& database_;
  Counts counts_;
};

}  // namespace headpond::internal
