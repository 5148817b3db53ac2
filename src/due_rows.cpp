#include "due_rows.h"

#include <vector>

#include "tier_side.h"

namespace headpond::internal {

bool DueRows::find(std::uint64_t stream, std::uint64_t first, RowFacts& out) const {
  std::lock_guard lock(mutex_);
  auto row = rows_.find({stream, first});
  if (row == rows_.end()) return false;
  return out = row->second, true;
}

void DueRows::put(std::uint64_t stream, const RowFacts& facts) {
  std::lock_guard lock(mutex_);
  if (rows_.size() >= kMost) rows_.clear();
  rows_[{stream, facts.first}] = facts;
}

namespace {

class Look {
 public:
  Look(Lane& lane, Tier& tier, std::uint64_t id)
      : lane_(lane), tier_(tier), id_(id), known_(lane.me.pond->tier_side().due_rows()) {}

  Result<DueInGap> run(std::uint64_t first, std::uint64_t end, WantedRow wanted) {
    if (Status listed = list(first, end); !listed) return listed;
    DueInGap out;
    std::size_t at = 0;
    for (; at < rows_.size(); at++) {
      if (!wanted.may_be(rows_[at])) continue;
      auto row = again(rows_[at]);
      if (!row) return row.status();
      if (wanted.may_be(rows_[at])) {
        out.row = std::move(*row);
        break;
      }
    }
    if (out.row)
      if (Status left = weigh_left(at, out.left); !left) return left;
    for (std::size_t i = out.row ? at + 1 : 0; i < rows_.size(); i++) out.due = sooner(out.due, rows_[i].due);
    return out;
  }

 private:
  static std::uint64_t soon() { return sys::precise_us() + kReadPatienceUs; }
  static RowFacts facts_of(const SpilledPage& row) {
    return {row.first, row.last, row.weight.items, row.weight.bytes, row.weight.due};
  }
  void note(const RowFacts& facts) {
    known_.put(id_, facts);
    rows_.push_back(facts);
  }

  Status list(std::uint64_t seq, std::uint64_t end) {
    while (seq < end) {
      RowFacts facts;
      if (known_.find(id_, seq, facts) && facts.last >= seq) {
        rows_.push_back(facts);
      } else if (Status read = read_from(seq, end); !read) {
        return read;
      }
      seq = rows_.back().last + 1;
    }
    return {};
  }
  /// The row that begins there; where ids may be missing the next one, and before it the hole.
  Status read_from(std::uint64_t seq, std::uint64_t end) {
    std::uint64_t dense = lane_.words.dense_from.load(std::memory_order_acquire);
    auto row = seq < dense ? tier_.load_from(id_, seq, soon()) : tier_.load(id_, seq, soon());
    if (!row && row.code() != Code::not_found) return row.status();
    if (end <= dense && (!row || row->first >= end)) return note({seq, end - 1, 0, 0, 0}), Status();
    if (!row || row->first > std::max(seq, dense)) return Code::not_found;
    auto laid = lay_out_row(lane_.me.pond->name(), lane_.kind(), *row);
    if (!laid) return laid.status();
    if (row->first > seq) note({seq, row->first - 1, 0, 0, 0});
    note(facts_of(**laid));
    return {};
  }
  /// The row as it is now. Null: nothing was left in it, and it is gone.
  Result<std::shared_ptr<const SpilledPage>> again(RowFacts& facts) {
    auto row = tier_.load(id_, facts.first, soon());
    bool gone =
        row.code() == Code::not_found && facts.first < lane_.words.dense_from.load(std::memory_order_acquire);
    if (gone) {
      facts = {facts.first, facts.last, 0, 0, 0};
      known_.put(id_, facts);
      return std::shared_ptr<const SpilledPage>();
    }
    if (!row) return row.status();
    auto laid = lay_out_row(lane_.me.pond->name(), lane_.kind(), *row);
    if (laid) facts = facts_of(**laid), known_.put(id_, facts);
    return laid;
  }
  /// Of the rows before that one, exactly. All of them have fewer items than they had, or none has.
  Status weigh_left(std::size_t at, GapAhead& out) {
    std::uint64_t items = 0;
    for (std::size_t i = 0; i < at; i++) items += rows_[i].items;
    if (items) {
      auto now = tier_.totals(id_, rows_[0].first, rows_[at - 1].last, soon());
      if (!now) return now.status();
      for (std::size_t i = 0; i < at && now->records != items; i++)
        if (rows_[i].items)
          if (auto row = again(rows_[i]); !row) return row.status();
    }
    for (std::size_t i = 0; i < at; i++)
      out.items += rows_[i].items, out.bytes += rows_[i].bytes, out.due = sooner(out.due, rows_[i].due);
    return {};
  }

  Lane& lane_;
  Tier& tier_;
  const std::uint64_t id_;
  DueRows& known_;
  std::vector<RowFacts> rows_;  // end to end
};

}  // namespace

Result<DueInGap> find_due_row(Lane& lane, std::uint64_t first, std::uint64_t end, WantedRow wanted) {
  auto tier = lane.me.pond->tier_side().tier(lane.me);
  if (!tier) return tier.status();
  std::uint64_t id = TierSide::id_if_current(lane);
  if (!id) return Code::not_found;
  return Look(lane, **tier, id).run(first, end, wanted);
}

}  // namespace headpond::internal
