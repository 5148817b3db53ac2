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

/// A row, or ids without one. Of what is damaged only the ids are known, how many items it has, and when the first is due if that was seen before.
struct Row : RowFacts {
  Status damage;
  bool missing = false;
};

class Look {
 public:
  Look(Lane& lane, Tier& tier, std::uint64_t id)
      : lane_(lane), tier_(tier), id_(id), known_(lane.me.pond->tier_side().due_rows()) {}

  Result<DueInGap> run(std::uint64_t first, std::uint64_t end, const GapAhead& all, WantedRow wanted) {
    if (Status listed = list(first, end); !listed) return listed;
    share_among_damaged(all);
    DueInGap out;
    Status damage;  // of the first that may be wanted: told if no other is
    std::size_t at = 0;
    for (; at < rows_.size(); at++) {
      Row& row = rows_[at];
      if (!wanted.may_be(row)) continue;
      if (row.damage.ok()) {
        auto now = again(row);
        if (!now) return now.status();
        if (row.damage.ok() && wanted.may_be(row)) {
          out.row = std::move(*now);
          break;
        }
      }
      if (damage.ok()) damage = row.damage;
    }
    if (!out.row && !damage.ok()) return damage;
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
  /// Of a row, perhaps, and not of its whole file, which answers for the next one likewise.
  static bool is_damage(Code code) {
    return code == Code::corruption || code == Code::unsupported || code == Code::not_found;
  }
  void note(const RowFacts& facts) {
    known_.put(id_, facts);
    rows_.push_back({facts, {}});
  }

  Status list(std::uint64_t seq, std::uint64_t end) {
    while (seq < end) {
      RowFacts facts;
      if (known_.find(id_, seq, facts) && facts.last >= seq) {
        rows_.push_back({facts, {}});
      } else if (Status read = read_from(seq, end); !read) {
        Status noted = is_damage(read.code()) ? note_damage(seq, end, read) : read;
        if (!noted) return noted;
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

  /// The ids from there to the next row cannot be read. What the tier answers where it does not find that one either: `why`, of all that is left.
  Status note_damage(std::uint64_t seq, std::uint64_t end, const Status& why) {
    const bool missing = why.code() == Code::not_found;
    std::uint64_t behind = end;
    auto next = tier_.load_from(id_, seq + 1, soon());
    if (next) {
      behind = std::min(next->first, end);
    } else if (next.code() != Code::not_found) {
      if (!is_damage(next.code())) return next.status();
      TierSpan span;
      if (Status seen = span_from(seq, span); !seen || span.last < span.first || span.first >= end)
        return why;
      if (span.first > seq && !missing) note({seq, span.first - 1, 0, 0, 0}), seq = span.first;
      behind = std::min(span.first > seq ? span.first : span.last + 1, end);
    }
    auto totals = tier_.totals(id_, seq, behind - 1, soon());
    if (!totals) return totals.status();
    Row row{{seq, behind - 1, totals->records, 0, 1}, {}, missing};  // due: perhaps now
    row.damage = damaged(row, why);
    rows_.push_back(std::move(row));
    return {};
  }
  /// The first row from there on, without its bytes.
  Status span_from(std::uint64_t seq, TierSpan& out) {
    Status listed = tier_.list(
        id_,
        [&](const TierSpan& span) {
          return span.first < seq ? Status() : (out = span, Status(Code::closed));
        },
        soon());
    return listed.code() == Code::closed ? Status() : listed ? Status(Code::not_found) : listed;
  }
  Status damaged(const Row& row, const Status& why) {
    if (row.missing) return missing_row(lane_, row.first, row.last + 1), std::exchange(lane_.error, {});
    return {why.code(),
            "pond " + lane_.me.pond->name() + ": stream " + std::to_string(lane_.binding.index()) +
                ", lane " + std::to_string(lane_.number) + ": ids " + std::to_string(row.first) + " to " +
                std::to_string(row.last) + " cannot come back from the durable tier: " + why.text(),
            why.error_number()};
  }
  /// What the gap has and no row is known to have is in the first that is damaged: so the sums are kept, and of a single one they are right.
  void share_among_damaged(const GapAhead& all) {
    std::uint64_t items = all.items, bytes = all.bytes;
    for (const Row& row : rows_) items -= std::min(items, row.items), bytes -= std::min(bytes, row.bytes);
    for (Row& row : rows_) {
      if (row.damage.ok()) continue;
      std::uint64_t more = row.missing ? std::min(items, row.last - row.first + 1) : 0;
      row.items += more, items -= more, row.bytes += std::exchange(bytes, 0);
    }
  }

  /// The row as it is now. Null: nothing was left in it, and it is gone; or it is damaged by now.
  Result<std::shared_ptr<const SpilledPage>> again(Row& known) {
    auto row = tier_.load(id_, known.first, soon());
    bool gone =
        row.code() == Code::not_found && known.first < lane_.words.dense_from.load(std::memory_order_acquire);
    if (gone) {
      known = {{known.first, known.last, 0, 0, 0}, {}};
      known_.put(id_, known);
      return std::shared_ptr<const SpilledPage>();
    }
    auto laid = row ? lay_out_row(lane_.me.pond->name(), lane_.kind(), *row)
                    : Result<std::shared_ptr<const SpilledPage>>(row.status());
    if (laid) {
      known = {facts_of(**laid), {}}, known_.put(id_, known);
    } else if (is_damage(laid.code())) {
      known.missing = laid.code() == Code::not_found;
      known.damage = damaged(known, laid.status());
      return std::shared_ptr<const SpilledPage>();
    }
    return laid;
  }
  /// Of the rows before that one, exactly but for damaged ones. All of them have fewer items than they had, or none has.
  Status weigh_left(std::size_t at, GapAhead& out) {
    std::uint64_t items = 0;
    for (std::size_t i = 0; i < at; i++) items += rows_[i].missing ? 0 : rows_[i].items;
    if (items) {
      auto now = tier_.totals(id_, rows_[0].first, rows_[at - 1].last, soon());
      if (!now) return now.status();
      for (std::size_t i = 0; i < at && now->records != items; i++)
        if (rows_[i].items && rows_[i].damage.ok())
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
  std::vector<Row> rows_;  // end to end
};

}  // namespace

Result<DueInGap> find_due_row(Lane& lane, std::uint64_t first, std::uint64_t end, const GapAhead& all,
                              WantedRow wanted) {
  auto tier = lane.me.pond->tier_side().tier(lane.me);
  if (!tier) return tier.status();
  std::uint64_t id = TierSide::id_if_current(lane);
  if (!id) return Code::not_found;
  return Look(lane, **tier, id).run(first, end, all, wanted);
}

}  // namespace headpond::internal
