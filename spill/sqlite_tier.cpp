#include "sqlite_tier.h"

#include "page_codec.h"
#include "survivors.h"

namespace headpond::internal {

SqliteTier::SqliteTier(const TierOptions& options)
    : files_(options.folder),
      journal_database_(files_, schema::Kind::journal, options.vfs),
      pages_database_(files_, schema::Kind::pages, options.vfs),
      journal_(journal_database_),
      names_(journal_database_),
      settings_(journal_database_),
      pages_(pages_database_) {}

// ------------------------------------------------------------------------------------------------------------------ names

Status SqliteTier::declare(const TierNames& names, std::uint64_t deadline_us) {
  return names_.declare({&names, 1}, deadline_us);
}
Status SqliteTier::declare_all(std::span<const TierNames> names, std::uint64_t deadline_us) {
  return names_.declare(names, deadline_us);
}
Status SqliteTier::clear(std::span<const std::uint64_t> streams, std::uint64_t upto,
                         std::uint64_t deadline_us) {
  return names_.clear(streams, upto, deadline_us);
}
Status SqliteTier::forget(std::span<const std::uint64_t> streams, std::uint64_t deadline_us) {
  for (std::uint64_t stream : streams) {
    auto left = pages_.totals(stream, 0, UINT64_MAX, deadline_us);
    if (!left) return left.status();
    if (left->rows)
      return {Code::busy,
              files_.pages_path() + ": stream " + std::to_string(stream) + " has rows; erase them first"};
  }
  // The rows' end must not be undone by a power cut: a row without a name is damage.
  if (Status safe = pages_.barrier(deadline_us); !safe) return safe;
  return names_.forget(streams, deadline_us);
}
Result<std::vector<TierNames>> SqliteTier::streams(std::uint64_t deadline_us) {
  return names_.all(deadline_us);
}
Result<std::vector<TierSetting>> SqliteTier::settings(std::uint64_t deadline_us) {
  return settings_.all(deadline_us);
}

// ------------------------------------------------------------------------------------------------------------------ pages

Status SqliteTier::store(std::span<const TierPage> pages, std::uint64_t deadline_us) {
  for (std::size_t i = 0; i < pages.size(); i++) {
    if (i > 0 && pages[i].stream == pages[i - 1].stream) continue;
    if (Status known = names_.known(pages[i].stream, deadline_us); !known) return known;
  }
  return pages_.store(pages, {}, deadline_us);
}
Status SqliteTier::store_whole(std::span<const TierPage> pages, std::span<const TierKept> streams,
                               std::uint64_t deadline_us) {
  for (std::size_t i = 0; i < pages.size(); i++) {
    if (i > 0 && pages[i].stream == pages[i - 1].stream) continue;
    if (Status known = names_.known(pages[i].stream, deadline_us); !known) return known;
  }
  return pages_.store(pages, streams, deadline_us);
}
Result<TierRow> SqliteTier::load(std::uint64_t stream, std::uint64_t first, std::uint64_t deadline_us) {
  return pages_.load(stream, first, deadline_us);
}
Result<TierRow> SqliteTier::load_from(std::uint64_t stream, std::uint64_t at_least,
                                      std::uint64_t deadline_us) {
  return pages_.load_from(stream, at_least, deadline_us);
}
Result<TierRow> SqliteTier::load_holding(std::uint64_t stream, std::uint64_t seq, std::uint64_t deadline_us) {
  return pages_.load_holding(stream, seq, deadline_us);
}
Status SqliteTier::erase(std::uint64_t stream, std::span<const std::uint64_t> firsts,
                         std::uint64_t deadline_us) {
  return pages_.erase(stream, firsts, deadline_us);
}
Status SqliteTier::erase_upto(std::span<const std::uint64_t> streams, std::uint64_t seq,
                              std::uint64_t deadline_us) {
  return pages_.erase_upto(streams, seq, deadline_us);
}
Result<TierTotals> SqliteTier::totals(std::uint64_t stream, std::uint64_t first, std::uint64_t last,
                                      std::uint64_t deadline_us) {
  return pages_.totals(stream, first, last, deadline_us);
}
Status SqliteTier::list(std::uint64_t stream, const std::function<Status(const TierSpan&)>& visit,
                        std::uint64_t deadline_us) {
  return pages_.list(stream, visit, deadline_us);
}
Result<std::vector<std::uint64_t>> SqliteTier::streams_with_rows(std::uint64_t deadline_us) {
  return pages_.streams(deadline_us);
}
Status SqliteTier::barrier(std::uint64_t deadline_us) { return pages_.barrier(deadline_us); }

// ---------------------------------------------------------------------------------------------------------------- journal

Result<std::uint64_t> SqliteTier::commit(std::span<const JournalEntry> entries,
                                         std::span<const TierSetting> settings, std::uint64_t after,
                                         std::uint64_t deadline_us) {
  Database::Work put;
  if (!settings.empty())
    put = [&](sqlite::Connection& connection) { return settings_.put(connection, settings); };
  return journal_.commit(entries, put, after, deadline_us);
}
Result<std::uint64_t> SqliteTier::last_lsn(std::uint64_t deadline_us) {
  return journal_.last_lsn(deadline_us);
}
Status SqliteTier::replay(const std::function<Status(const JournalEntry&)>& visit,
                          std::uint64_t deadline_us) {
  return journal_.replay(visit, deadline_us);
}
Status SqliteTier::survivors(const std::function<Status(const Acked&)>& acks,
                             const std::function<Status(const JournalEntry&)>& visit,
                             std::uint64_t deadline_us) {
  auto names = names_.all(deadline_us);
  if (!names) return names.status();
  std::map<std::uint64_t, std::uint64_t> cleared;
  for (const TierNames& of : *names) cleared.emplace(of.stream, of.cleared_upto);
  return visit_survivors(journal_, cleared, acks, visit, deadline_us);
}
Status SqliteTier::trim(std::uint32_t rows, const std::function<bool(const JournalEntry&)>& keep,
                        std::uint64_t deadline_us) {
  return journal_.trim(
      rows, keep, [&] { return pages_.barrier(deadline_us); }, deadline_us);
}
Result<std::uint64_t> SqliteTier::journal_rows(std::uint64_t deadline_us) {
  return journal_.rows(deadline_us);
}

// -------------------------------------------------------------------------------------------------------- the whole store

TierIdentity SqliteTier::identity() const {
  TierIdentity identity = files_.identity();
  identity.store_id = store_id_, identity.epoch = epoch_;
  return identity;
}

// The pages' file first: opening goes by the higher of the two.
Status SqliteTier::begin_epoch(std::uint64_t epoch, std::uint64_t deadline_us) {
  if (epoch < epoch_ || epoch >= 1ULL << 23)  // ids of an epoch begin at epoch << 40
    return {Code::invalid, files_.folder() + ": epoch " + std::to_string(epoch) + " cannot follow " +
                               std::to_string(epoch_.load())};
  if (Status begun = pages_database_.begin_epoch(epoch, deadline_us); !begun) return begun;
  if (Status begun = journal_database_.begin_epoch(epoch, deadline_us); !begun) return begun;
  epoch_ = epoch;
  return {};
}

Status SqliteTier::maintain(std::uint64_t deadline_us) {
  Status pages = pages_database_.maintain(deadline_us);
  Status journal = journal_database_.maintain(deadline_us);
  return pages ? journal : pages;
}

static constexpr std::uint64_t kFiguresPatienceUs = 100'000;

TierFigures SqliteTier::figures() {
  TierFigures out;
  if (pages_database_.forked()) return out;
  for (const std::string& path : {files_.pages_path(), files_.journal_path()}) {
    sys::FileInfo file, wal;  // one that cannot be seen counts 0: the next write tells
    if (sys::describe(path, file) == 0) out.file_bytes += file.size;
    if (sys::describe(path + "-wal", wal) == 0) out.wal_bytes += wal.size;
  }
  out.file_bytes += out.wal_bytes;
  const PageRows::Counts& pages = pages_.counts();
  out.pages_stored = pages.stored, out.pages_loaded = pages.loaded;
  out.bytes_stored = pages.bytes_stored, out.bytes_kept = pages.bytes_kept;
  for (Database* database : {&pages_database_, &journal_database_}) {
    const Database::Counts& counts = database->counts();
    out.commits += counts.commits, out.full_commits += counts.full_commits;
    out.checkpoints += counts.checkpoints, out.vacuums += counts.vacuums;
    out.failed_syncs += counts.failed_syncs;
    if (Status last = database->upkeep(); !last) out.upkeep = last;
  }
  for (Database* database : {&pages_database_, &journal_database_}) {
    std::uint64_t free = 0;
    Status counted = database->free_bytes(sys::precise_us() + kFiguresPatienceUs, free);
    if (!counted && out.upkeep.ok()) out.upkeep = std::move(counted);
    out.free_bytes += free;
  }
  return out;
}

}  // namespace headpond::internal
