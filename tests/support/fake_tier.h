// A durable tier in memory, for tests of the hot tier's side: with faults that can be ordered, and a look inside.
#pragma once

#include <map>
#include <mutex>
#include <set>

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
    names_[names.stream] = names;
    return {};
  }
  Status clear(std::uint64_t stream, std::uint64_t upto, std::uint64_t) override {
    std::lock_guard lock(mutex_);
    if (!erase_fault_.ok()) return erase_fault_;
    if (!names_.count(stream)) return Code::not_found;
    names_[stream].cleared_upto = std::max(names_[stream].cleared_upto, upto);
    return {};
  }
  Status forget(std::uint64_t stream, std::uint64_t) override {
    std::lock_guard lock(mutex_);
    if (!names_.count(stream)) return Code::not_found;
    if (auto at = rows_.lower_bound({stream, 0}); at != rows_.end() && at->first.first == stream)
      return Code::busy;
    names_.erase(stream);
    return {};
  }
  Result<std::vector<internal::TierNames>> streams(std::uint64_t) override {
    std::lock_guard lock(mutex_);
    std::vector<internal::TierNames> out;
    for (auto& [id, names] : names_) out.push_back(names);
    return out;
  }

  Status store(std::span<const internal::TierPage> pages, std::uint64_t) override {
    std::lock_guard lock(mutex_);
    if (!store_fault_.ok()) return store_fault_;
    for (const internal::TierPage& page : pages)
      if (!names_.count(page.stream) || page.first > page.last || page.first == 0) return Code::invalid;
    for (const internal::TierPage& page : pages)
      rows_[{page.stream, page.first}] = {page.stream,  page.first,      page.last,
                                          page.records, page.created_ms, std::string(page.bytes)};
    return {};
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
  Status erase_upto(std::uint64_t stream, std::uint64_t seq, std::uint64_t) override {
    std::lock_guard lock(mutex_);
    if (!erase_fault_.ok()) return erase_fault_;
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

  // The journal is not for these tests.
  Result<std::uint64_t> commit(std::span<const internal::JournalEntry>, std::uint64_t,
                               std::uint64_t) override {
    return Code::unsupported;
  }
  Result<std::uint64_t> last_lsn(std::uint64_t) override { return Code::unsupported; }
  Status replay(const std::function<Status(const internal::JournalEntry&)>&, std::uint64_t) override {
    return Code::unsupported;
  }
  Status survivors(const std::function<Status(const Acked&)>&,
                   const std::function<Status(const internal::JournalEntry&)>&, std::uint64_t) override {
    return Code::unsupported;
  }
  Status trim(std::uint32_t, const std::function<bool(const internal::JournalEntry&)>&,
              std::uint64_t) override {
    return Code::unsupported;
  }
  Result<std::uint64_t> journal_rows(std::uint64_t) override { return Code::unsupported; }

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
  Status store_fault_, load_fault_, erase_fault_;
  std::uint64_t loads_ = 0;
};

}  // namespace support
