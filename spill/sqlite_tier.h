// The tier on two SQLite databases: the parts put together.
//
// Two files, since in one the synced commits of the journal would wait behind the pages' big ones. Nothing has to be atomic across them;
// what must come first is said where it is done: names before rows, a clear before the rows go, a barrier before a trim.
#pragma once

#include <memory>

#include "database.h"
#include "journal.h"
#include "page_rows.h"
#include "setting_rows.h"
#include "src/tier.h"
#include "store_files.h"
#include "stream_names.h"

namespace headpond::internal {

class SqliteTier final : public Tier {
 public:
  explicit SqliteTier(const TierOptions& options);

  /// One attempt. `timeout`: somebody else has a lock just now; the object is as before.
  Status open(const TierOptions& options);

  Status declare(const TierNames& names, std::uint64_t deadline_us) override;
  Status declare_all(std::span<const TierNames> names, std::uint64_t deadline_us) override;
  Status clear(std::span<const std::uint64_t> streams, std::uint64_t upto,
               std::uint64_t deadline_us) override;
  Status forget(std::span<const std::uint64_t> streams, std::uint64_t deadline_us) override;
  Result<std::vector<TierNames>> streams(std::uint64_t deadline_us) override;
  Result<std::vector<TierSetting>> settings(std::uint64_t deadline_us) override;

  Status store(std::span<const TierPage> pages, std::uint64_t deadline_us) override;
  Status store_whole(std::span<const TierPage> pages, std::span<const TierKept> streams,
                     std::uint64_t deadline_us) override;
  Result<TierRow> load(std::uint64_t stream, std::uint64_t first, std::uint64_t deadline_us) override;
  Result<TierRow> load_from(std::uint64_t stream, std::uint64_t at_least, std::uint64_t deadline_us) override;
  Result<TierRow> load_holding(std::uint64_t stream, std::uint64_t seq, std::uint64_t deadline_us) override;
  Status erase(std::uint64_t stream, std::span<const std::uint64_t> firsts,
               std::uint64_t deadline_us) override;
  Status erase_upto(std::span<const std::uint64_t> streams, std::uint64_t seq,
                    std::uint64_t deadline_us) override;
  Result<TierTotals> totals(std::uint64_t stream, std::uint64_t first, std::uint64_t last,
                            std::uint64_t deadline_us) override;
  Status list(std::uint64_t stream, const std::function<Status(const TierSpan&)>& visit,
              std::uint64_t deadline_us) override;
  Result<std::vector<std::uint64_t>> streams_with_rows(std::uint64_t deadline_us) override;
  Status barrier(std::uint64_t deadline_us) override;

  using Tier::commit;
  Result<std::uint64_t> commit(std::span<const JournalEntry> entries, std::span<const TierSetting> settings,
                               std::uint64_t after, std::uint64_t deadline_us) override;
  Result<std::uint64_t> last_lsn(std::uint64_t deadline_us) override;
  Status replay(const std::function<Status(const JournalEntry&)>& visit, std::uint64_t deadline_us) override;
  Status survivors(const std::function<Status(const Acked&)>& acks,
                   const std::function<Status(const JournalEntry&)>& visit,
                   std::uint64_t deadline_us) override;
  Status trim(std::uint32_t rows, const std::function<bool(const JournalEntry&)>& keep,
              std::uint64_t deadline_us) override;
  Result<std::uint64_t> journal_rows(std::uint64_t deadline_us) override;

  TierIdentity identity() const override;
  Status begin_epoch(std::uint64_t epoch, std::uint64_t deadline_us) override;
  Status maintain(std::uint64_t deadline_us) override;
  TierFigures figures() override;

 private:
  Status open_files(const TierOptions& options);
  Status look(Database& database, const std::string& path, schema::Found& found);
  Status make_missing(schema::Found& journal, schema::Found& pages);
  Status agree(schema::Meta& journal, schema::Meta& pages);
  Status expect(const TierIdentity& expected) const;

  StoreFiles files_;
  Database journal_database_, pages_database_;
  Journal journal_;
  StreamNames names_;
  SettingRows settings_;
  PageRows pages_;
  std::uint64_t store_id_ = 0;
  std::atomic<std::uint64_t> epoch_{0};
};

}  // namespace headpond::internal
