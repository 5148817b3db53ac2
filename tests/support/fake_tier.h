// A durable tier in memory, for tests of the hot tier's side: with faults that can be ordered, and a look inside.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "src/tier.h"

namespace support {

using namespace headpond;
using internal::TierRow;

class FakeTier final : public internal::Tier {
 public:
  /// What the next calls of that kind answer, until it is ok again.
  void fail_stores(Status status) { set(store_fault_, std::move(status)); }
  void fail_loads(Status status) { set(load_fault_, std::move(status)); }
  void fail_erasing(Status status) { set(erase_fault_, std::move(status)); }
  void fail_declaring(Status status) { set(declare_fault_, std::move(status)); }
  void fail_commits(Status status) { set(commit_fault_, std::move(status)); }
  /// Run in each commit before it does anything, without a lock. Set while nobody commits.
  std::function<void()> before_commit;
  /// The same for the next store alone.
  std::function<void()> before_store;

  struct OwnedEntry {
    explicit OwnedEntry(const internal::JournalEntry& from) : entry(from), payload(from.payload) {}
    internal::JournalEntry view() const {
      internal::JournalEntry out = entry;
      out.payload = payload;
      return out;
    }
    internal::JournalEntry entry;
    std::string payload;
  };
  /// Row by row.
  std::vector<std::vector<OwnedEntry>> journal() const {
    std::lock_guard lock(mutex_);
    return journal_;
  }
  std::uint64_t commits() const {
    std::lock_guard lock(mutex_);
    return commits_;
  }

  std::size_t rows() const {
    std::lock_guard lock(mutex_);
    return rows_.size();
  }
  std::uint64_t loads() const {
    std::lock_guard lock(mutex_);
    return loads_;
  }
  std::size_t declared() const {
    std::lock_guard lock(mutex_);
    return names_.size();
  }
  /// work(rows by {stream, first}), under the lock.
  template <class Work>
  void with_rows(Work work) {
    std::lock_guard lock(mutex_);
    work(rows_);
  }

  Status declare(const internal::TierNames& names, std::uint64_t) override {
    std::lock_guard lock(mutex_);
    if (!declare_fault_.ok()) return declare_fault_;
    names_[names.stream] = names;
    return {};
  }
  Status declare_all(std::span<const internal::TierNames> all, std::uint64_t) override {
    std::lock_guard lock(mutex_);
    if (!declare_fault_.ok()) return declare_fault_;
    for (const internal::TierNames& names : all) names_[names.stream] = names;
    return {};
  }
  Status clear(std::span<const std::uint64_t> streams, std::uint64_t upto, std::uint64_t) override {
    std::lock_guard lock(mutex_);
    if (!erase_fault_.ok()) return erase_fault_;
    bool any = false;
    for (std::uint64_t stream : streams)
      if (auto at = names_.find(stream); at != names_.end())
        any = true, at->second.cleared_upto = std::max(at->second.cleared_upto, upto);
    return any ? Status() : Status(Code::not_found);
  }
  Status forget(std::span<const std::uint64_t> streams, std::uint64_t) override {
    std::lock_guard lock(mutex_);
    std::size_t gone = 0;
    for (std::uint64_t stream : streams)
      if (auto at = rows_.lower_bound({stream, 0}); at != rows_.end() && at->first.first == stream)
        return Code::busy;
    for (std::uint64_t stream : streams) gone += names_.erase(stream);
    return gone ? Status() : Status(Code::not_found);
  }
  Result<std::vector<internal::TierNames>> streams(std::uint64_t) override {
    std::lock_guard lock(mutex_);
    std::vector<internal::TierNames> out;
    for (auto& [id, names] : names_) out.push_back(names);
    return out;
  }

  Result<std::vector<internal::TierSetting>> settings(std::uint64_t) override {
    std::lock_guard lock(mutex_);
    return settings_;
  }

  Status store(std::span<const internal::TierPage> pages, std::uint64_t) override {
    if (auto run = std::exchange(before_store, nullptr)) run();
    std::lock_guard lock(mutex_);
    if (!store_fault_.ok()) return store_fault_;
    for (const internal::TierPage& page : pages)
      if (!names_.count(page.stream) || page.first > page.last || page.first == 0) return Code::invalid;
    for (const internal::TierPage& page : pages)
      rows_[{page.stream, page.first}] = {page.stream,  page.first,      page.last,
                                          page.records, page.created_ms, std::string(page.bytes)};
    return {};
  }
  Status store_whole(std::span<const internal::TierPage> pages, std::span<const internal::TierKept> streams,
                     std::uint64_t until) override {
    if (auto run = std::exchange(before_store, nullptr)) run();
    {
      std::lock_guard lock(mutex_);
      if (!store_fault_.ok()) return store_fault_;
      for (const internal::TierKept& kept : streams)
        std::erase_if(rows_, [&](const auto& row) {
          return row.first.first == kept.stream && row.first.second < kept.end &&
                 std::none_of(kept.ranges.begin(), kept.ranges.end(), [&](const auto& range) {
                   return range.first <= row.first.second && row.first.second <= range.second;
                 });
        });
    }
    return store(pages, until);
  }
  Result<TierRow> load(std::uint64_t stream, std::uint64_t first, std::uint64_t) override {
    std::lock_guard lock(mutex_);
    loads_++;
    if (!load_fault_.ok()) return load_fault_;
    auto found = rows_.find({stream, first});
    if (found == rows_.end()) return Code::not_found;
    return found->second;
  }
  Result<TierRow> load_from(std::uint64_t stream, std::uint64_t at_least, std::uint64_t) override {
    std::lock_guard lock(mutex_);
    loads_++;
    if (!load_fault_.ok()) return load_fault_;
    auto found = rows_.lower_bound({stream, at_least});
    if (found == rows_.end() || found->first.first != stream) return Code::not_found;
    return found->second;
  }
  Result<TierRow> load_holding(std::uint64_t stream, std::uint64_t seq, std::uint64_t) override {
    std::lock_guard lock(mutex_);
    loads_++;
    if (!load_fault_.ok()) return load_fault_;
    auto found = rows_.upper_bound({stream, seq});
    if (found == rows_.begin() || (--found)->first.first != stream || found->second.last < seq)
      return Code::not_found;
    return found->second;
  }
  Status erase(std::uint64_t stream, std::span<const std::uint64_t> firsts, std::uint64_t) override {
    std::lock_guard lock(mutex_);
    if (!erase_fault_.ok()) return erase_fault_;
    for (std::uint64_t first : firsts) rows_.erase({stream, first});
    return {};
  }
  Status erase_upto(std::span<const std::uint64_t> streams, std::uint64_t seq, std::uint64_t) override {
    std::lock_guard lock(mutex_);
    if (!erase_fault_.ok()) return erase_fault_;
    for (std::uint64_t stream : streams)
      std::erase_if(rows_,
                    [&](const auto& row) { return row.first.first == stream && row.second.last <= seq; });
    return {};
  }
  Result<internal::TierTotals> totals(std::uint64_t stream, std::uint64_t first, std::uint64_t last,
                                      std::uint64_t) override {
    std::lock_guard lock(mutex_);
    internal::TierTotals out;
    for (auto& [key, row] : rows_)
      if (key.first == stream && row.first >= first && row.last <= last)
        out.rows++, out.records += row.records, out.bytes += row.bytes.size();
    return out;
  }
  Status list(std::uint64_t stream, const std::function<Status(const internal::TierSpan&)>& visit,
              std::uint64_t) override {
    std::vector<internal::TierSpan> spans;
    {
      std::lock_guard lock(mutex_);
      for (auto& [key, row] : rows_)
        if (key.first == stream) spans.push_back({row.first, row.last, row.records, row.bytes.size()});
    }
    for (auto& span : spans)
      if (Status visited = visit(span); !visited) return visited;
    return {};
  }
  Result<std::vector<std::uint64_t>> streams_with_rows(std::uint64_t) override {
    std::lock_guard lock(mutex_);
    std::set<std::uint64_t> ids;
    for (auto& [key, row] : rows_) ids.insert(key.first);
    return std::vector<std::uint64_t>(ids.begin(), ids.end());
  }
  Status barrier(std::uint64_t) override { return {}; }

  using Tier::commit;
  Result<std::uint64_t> commit(std::span<const internal::JournalEntry> entries,
                               std::span<const internal::TierSetting> settings, std::uint64_t after,
                               std::uint64_t) override {
    if (before_commit) before_commit();
    std::lock_guard lock(mutex_);
    if (!commit_fault_.ok()) return commit_fault_;
    if (entries.empty() && settings.empty()) return Code::invalid;
    if (after > lsn_) return Code::corruption;
    for (const internal::TierSetting& setting : settings) {
      auto key = std::tie(setting.kind, setting.scope, setting.ns, setting.name, setting.cursor);
      std::erase_if(settings_, [&](const internal::TierSetting& old) {
        return std::tie(old.kind, old.scope, old.ns, old.name, old.cursor) == key;
      });
      if (setting.value) settings_.push_back(setting);
    }
    if (entries.empty()) return lsn_;
    journal_.emplace_back();
    for (const internal::JournalEntry& entry : entries) journal_.back().emplace_back(entry);
    commits_++;
    return ++lsn_;
  }
  Result<std::uint64_t> last_lsn(std::uint64_t) override {
    std::lock_guard lock(mutex_);
    return lsn_;
  }
  Status replay(const std::function<Status(const internal::JournalEntry&)>& visit, std::uint64_t) override {
    for (const auto& row : journal())
      for (const OwnedEntry& entry : row)
        if (Status visited = visit(entry.view()); !visited) return visited;
    return {};
  }
  Status survivors(const std::function<Status(const Acked&)>&,
                   const std::function<Status(const internal::JournalEntry&)>&, std::uint64_t) override {
    return Code::unsupported;  // the real one is in spill
  }
  Status trim(std::uint32_t rows, const std::function<bool(const internal::JournalEntry&)>& keep,
              std::uint64_t) override {
    std::vector<std::vector<OwnedEntry>> old = journal();
    old.resize(std::min<std::size_t>(old.size(), rows));
    std::vector<OwnedEntry> kept;
    for (const auto& row : old)
      for (const OwnedEntry& entry : row)
        if (keep(entry.view())) kept.push_back(entry);
    std::lock_guard lock(mutex_);
    journal_.erase(journal_.begin(), journal_.begin() + static_cast<std::ptrdiff_t>(old.size()));
    journal_.push_back(std::move(kept));
    lsn_++;
    return {};
  }
  Result<std::uint64_t> journal_rows(std::uint64_t) override { return journal().size(); }

  internal::TierIdentity identity() const override {
    return {.store_id = 1,
            .epoch = 1,
            .pages = {},
            .pages_wal = {},
            .journal = {},
            .journal_wal = {},
            .lock = {}};
  }
  Status begin_epoch(std::uint64_t, std::uint64_t) override { return Code::unsupported; }
  Status maintain(std::uint64_t) override { return {}; }
  internal::TierFigures figures() override { return {}; }

 private:
  void set(Status& fault, Status status) {
    std::lock_guard lock(mutex_);
    fault = std::move(status);
  }
  mutable std::mutex mutex_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, TierRow> rows_;
  std::map<std::uint64_t, internal::TierNames> names_;
  std::vector<internal::TierSetting> settings_;
  Status store_fault_, load_fault_, erase_fault_, declare_fault_, commit_fault_;
  std::uint64_t loads_ = 0, lsn_ = 0, commits_ = 0;
  std::vector<std::vector<OwnedEntry>> journal_;
};

}  // namespace support
