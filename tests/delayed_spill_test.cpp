// Delayed items over two tiers, with a durable tier in memory: a pond that is full of them takes more, each comes once and when it is due, wherever it
// is, and what looks at them knows no difference.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "src/gap.h"
#include "src/spill.h"
#include "src/sys.h"
#include "support/fake_tier_pond.h"

namespace {

using namespace support;
using internal::Spilled;
using std::chrono::hours;
using std::chrono::minutes;

Options sized(std::uint64_t limit_bytes, std::uint32_t max_page_bytes) {
  Options options;
  options.limit_bytes = limit_bytes, options.max_page_bytes = max_page_bytes;
  options.on_full = OnFull::spill, options.full_timeout = milliseconds(0);
  return options;
}

class DelayedSpill : public FakeTierPond {
 protected:
  explicit DelayedSpill(Options options = sized(1 << 20, 4096)) : FakeTierPond(std::move(options)) {}
  ~DelayedSpill() override { internal::sys::wall_ahead_ms = 0; }

  static void ahead(milliseconds by) {
    internal::sys::wall_ahead_ms += static_cast<std::uint64_t>(by.count());
  }
  void push(std::uint64_t from, std::uint64_t to, milliseconds delay, std::size_t size = 100) {
    Queue q = queue();
    for (std::uint64_t n = from; n <= to; n++) ASSERT_OK(q.push(patterned(n, size), {.delay = delay}));
  }
  std::uint64_t spill() {
    Spilled out;
    for (std::uint64_t pages = ~0ULL; pages != out.pages;) {
      pages = out.pages;
      EXPECT_OK(internal::spill_some(*attachment->thread(), ~0ULL, out));
    }
    return out.pages;
  }
  std::vector<std::uint64_t> sorted_pop() {
    std::vector<std::uint64_t> out = popped();
    std::sort(out.begin(), out.end());
    return out;
  }
  void expect_bounded() {
    Stats stats = must(pond->stats());
    EXPECT_LE(stats.page_bytes, stats.limit_bytes);
  }
};

TEST_F(DelayedSpill, ARowComesBackWhenItsItemsAreDueAndNotBefore) {
  push(1, 1000, hours(1));
  ASSERT_GT(spill(), 5u);
  EXPECT_GT(must(queue().stats()).spilled, 500u);
  EXPECT_TRUE(clean(*pond));
  EXPECT_ANSWER(empty, queue().claim());
  std::uint64_t loads = tier->loads();
  ahead(minutes(59));
  EXPECT_ANSWER(empty, queue().claim());
  EXPECT_EQ(tier->loads(), loads);  // nobody looks before
  ahead(minutes(2));
  EXPECT_EQ(popped(), numbers(1, 1000));
  EXPECT_TRUE(clean(*pond));
  EXPECT_EQ(must(queue().stats()).delayed, 0u);
}

TEST_F(DelayedSpill, ARowInTheMiddleComesBackAloneAndTheRestWhenItIsDue) {
  push(1, 300, hours(3)), push(301, 330, hours(1)), push(331, 600, hours(2));
  push(601, 700, hours(9));
  ASSERT_GT(spill(), 5u);
  ahead(hours(1) + minutes(1));
  std::uint64_t rows = tier->rows();
  EXPECT_EQ(popped(), numbers(301, 330));
  EXPECT_TRUE(clean(*pond));
  EXPECT_EQ(must(queue().stats()).delayed, 670u);
  EXPECT_GE(tier->rows() + 3, rows);  // the others stay where they are
  ahead(hours(1));
  EXPECT_EQ(popped(), numbers(331, 600));
  EXPECT_TRUE(clean(*pond));
  spill();
  EXPECT_TRUE(clean(*pond));
  ahead(hours(1));
  EXPECT_EQ(popped(), numbers(1, 300));
  EXPECT_TRUE(clean(*pond));
  ahead(hours(9));
  EXPECT_EQ(popped(), numbers(601, 700));
  EXPECT_TRUE(clean(*pond));
}

TEST_F(DelayedSpill, WithRandomTimesEachComesOnceWhenItIsDue) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE("HEADPOND_TEST_SEED=" + std::to_string(seed));
  Random random(seed);
  constexpr std::uint64_t kItems = 20'000, kSteps = 40;
  std::map<std::uint64_t, std::vector<std::uint64_t>> due;  // by the step in which they are
  Queue q = queue();
  for (std::uint64_t n = 1; n <= kItems; n++) {
    std::uint64_t step = random.below(kSteps);
    ASSERT_OK(q.push(patterned(n, 100), {.delay = hours(1) + minutes(10 * step)}));
    due[step].push_back(n);
  }
  EXPECT_GT(must(queue().stats()).spilled, kItems / 2);
  EXPECT_TRUE(clean(*pond));
  const std::uint64_t rows = tier->rows();
  for (std::uint64_t step = 0, before = 0; step < kSteps; step++) {
    std::uint64_t loads = tier->loads();
    ahead(step == 0 ? hours(1) + minutes(5) : milliseconds(minutes(10)));
    ASSERT_EQ(sorted_pop(), due[step]) << "step " << step;
    EXPECT_LT(tier->loads() - loads, 6 * rows) << "step " << step << ", " << due[step].size() << " items";
    before += due[step].size();
    ASSERT_EQ(must(queue().stats()).delayed, kItems - before);
    if (step % 8 == 0) {
      ASSERT_TRUE(clean(*pond)) << "step " << step;
    }
    expect_bounded();
  }
  EXPECT_ANSWER(empty, queue().claim());
  EXPECT_TRUE(clean(*pond));
}

TEST_F(DelayedSpill, TimeoutsThatAreCancelledFillNothing) {
  Queue q = queue();
  std::vector<ItemId> kept;
  for (std::uint64_t n = 1; n <= 6'000; n++) {
    auto id = q.push(patterned(n, 900), {.delay = hours(1)});
    ASSERT_OK(id);
    if (n % 20 == 0)
      kept.push_back(*id);
    else
      ASSERT_OK(q.cancel(*id));
  }
  EXPECT_EQ(must(q.stats()).delayed, kept.size());
  EXPECT_TRUE(clean(*pond));
  ahead(hours(2));
  EXPECT_EQ(popped().size(), kept.size());
  EXPECT_TRUE(clean(*pond));
}

TEST_F(DelayedSpill, CancellingOneBringsBackItsRowAlone) {
  push(1, 10'000, hours(1));
  ASSERT_GT(tier->rows(), 50u);
  Queue q = queue();
  for (std::uint64_t n : {5000, 2000, 3500, 3501}) {
    std::uint64_t spilled = must(q.stats()).spilled, loads = tier->loads();
    EXPECT_OK(q.cancel(ItemId{8ULL << 60 | n}));
    EXPECT_LE(tier->loads() - loads, 3u) << n;
    EXPECT_GE(must(q.stats()).spilled + 200, spilled) << n;
    EXPECT_TRUE(clean(*pond)) << n;
  }
  ahead(hours(2));
  EXPECT_EQ(popped().size(), 9996u);
  EXPECT_TRUE(clean(*pond));
}

TEST_F(DelayedSpill, LooksCancelAndClearSeeBothTiers) {
  push(1, 1000, hours(1));
  ASSERT_GT(spill(), 5u);
  Queue q = queue();
  std::vector<std::uint64_t> seen;
  EXPECT_OK(q.for_each_delayed(
      [&](const WaitingItem& item) { return seen.push_back(number_of(item.payload)), true; }));
  EXPECT_EQ(seen, numbers(1, 1000));
  EXPECT_OK(q.cancel(ItemId{8ULL << 60 | 500}));
  EXPECT_ANSWER(not_found, q.cancel(ItemId{8ULL << 60 | 500}));
  EXPECT_EQ(must(q.stats()).delayed, 999u);
  EXPECT_EQ(must(q.size()), 0u);
  EXPECT_TRUE(clean(*pond));
  spill();
  EXPECT_TRUE(clean(*pond));
  EXPECT_EQ(must(q.clear()), 999u);
  ahead(hours(2));
  EXPECT_ANSWER(empty, q.claim());
  EXPECT_TRUE(clean(*pond));
}

TEST_F(DelayedSpill, AMissingRowIsCorruptionAndHidesNothingElse) {
  push(1, 1000, hours(1));
  ASSERT_GT(spill(), 5u);
  std::string ids;
  std::size_t missing = 0;
  tier->with_rows([&](auto& rows) {
    auto row = std::next(rows.begin(), 3);
    ids = "ids " + std::to_string(row->second.first) + " to " + std::to_string(row->second.last);
    missing = row->second.last - row->second.first + 1;
    rows.erase(row);
  });
  internal::sys::wall_ahead_ms = 7'200'000;
  Queue q = queue();
  ASSERT_OK(q.push(patterned(5000, 100)));
  std::vector<std::uint64_t> all;
  Status last;
  for (int i = 0; i < 2000; i++) {
    auto item = q.pop();
    if (!item) {
      last = item.status();
      break;
    }
    all.push_back(number_of(*item));
  }
  EXPECT_ANSWER(corruption, last);
  EXPECT_NE(last.text().find(ids), std::string::npos) << last.text();
  EXPECT_TRUE(std::find(all.begin(), all.end(), 5000u) != all.end());
  EXPECT_EQ(all.size(), 1001 - missing);
  EXPECT_EQ(must(q.stats()).delayed, missing);
  EXPECT_FALSE(clean(*pond));
}

class DamagedRow : public DelayedSpill {
 protected:
  /// A thousand items of one gap, due at different times; the fourth row has other bytes than were written.
  void SetUp() override {
    push(1, 1000, hours(1));
    ASSERT_GT(spill(), 5u);
    tier->with_rows([&](auto& rows) {
      ASSERT_GT(rows.size(), 6u);
      auto row = std::next(rows.begin(), 3);
      first = row->second.first, last = row->second.last;
      whole = row->second.bytes;
      damage(row->second);
    });
    ahead(hours(2));
  }
  static void damage(internal::TierRow& row) {
    std::fill(row.bytes.begin() + sizeof(internal::ImageHeader), row.bytes.end(), '\xff');
  }
  void mend() {
    tier->with_rows([&](auto& rows) { std::next(rows.begin(), 3)->second.bytes = whole; });
  }
  std::string range() const { return "ids " + std::to_string(first) + " to " + std::to_string(last); }
  /// What comes before the first answer that is none.
  std::vector<std::uint64_t> pop_until(Status& answer) {
    std::vector<std::uint64_t> out;
    auto item = queue().pop();
    for (; item.ok(); item = queue().pop()) out.push_back(number_of(*item));
    answer = item.status();
    return out;
  }
  std::vector<std::uint64_t> all_others(std::uint64_t from = 1, std::uint64_t to = 1000) const {
    std::vector<std::uint64_t> out = numbers(from, to);
    std::erase_if(out, [&](std::uint64_t n) { return first <= n && n <= last; });
    return out;
  }
  std::uint64_t first = 0, last = 0;
  std::string whole;
};

TEST_F(DamagedRow, KeepsNoOtherFromComing) {
  Status answer;
  EXPECT_EQ(pop_until(answer), all_others());
  EXPECT_ANSWER(corruption, answer);
  EXPECT_NE(answer.text().find(range()), std::string::npos) << answer.text();
  EXPECT_EQ(must(queue().stats()).delayed, last - first + 1);
}

TEST_F(DamagedRow, IsSaidToEveryClaimAndNeverPassedOver) {
  Status answer;
  pop_until(answer);
  ASSERT_OK(queue().push(patterned(5000, 100)));
  EXPECT_EQ(pop_until(answer), std::vector<std::uint64_t>{5000});
  EXPECT_ANSWER(corruption, answer);
  EXPECT_ANSWER(corruption, queue().pop(milliseconds(1)));
  EXPECT_ANSWER(corruption, queue().cancel(ItemId{8ULL << 60 | first}));
  EXPECT_EQ(must(queue().stats()).delayed, last - first + 1);
}

TEST_F(DamagedRow, ComesWhenItIsMended) {
  Status answer;
  pop_until(answer);
  mend();
  EXPECT_EQ(popped(), numbers(first, last));
  EXPECT_ANSWER(empty, queue().claim());
  EXPECT_EQ(must(queue().stats()).delayed, 0u);
  EXPECT_TRUE(clean(*pond));
}

TEST_F(DamagedRow, OfWhichTheTimeIsKnownIsSaidWhenItIsDue) {
  mend();
  EXPECT_EQ(popped(), numbers(1, 1000));
  push(1001, 1400, hours(1)), push(1401, 1500, hours(2)), push(1501, 2000, hours(3));
  ASSERT_GT(spill(), 5u);
  ahead(hours(1) + minutes(1));
  Status answer;
  EXPECT_EQ(pop_until(answer), numbers(1001, 1400));
  EXPECT_ANSWER(empty, answer);
  tier->with_rows([&](auto& rows) {
    auto row = std::find_if(rows.begin(), rows.end(), [](auto& at) { return at.second.first > 1600; });
    ASSERT_TRUE(row != rows.end());
    first = row->second.first, last = row->second.last;
    damage(row->second);
  });
  ahead(hours(1));
  EXPECT_EQ(pop_until(answer), numbers(1401, 1500));
  EXPECT_ANSWER(empty, answer);
  ahead(hours(1));
  EXPECT_EQ(pop_until(answer), all_others(1501, 2000));
  EXPECT_ANSWER(corruption, answer);
  EXPECT_NE(answer.text().find(range()), std::string::npos) << answer.text();
}

TEST_F(DelayedSpill, WhatTheTierAnswersIsTheClaimersErrorAndTheItemsComeLater) {
  push(1, 1000, hours(1));
  ASSERT_GT(spill(), 5u);
  ahead(hours(2));
  tier->fail_loads(Status(Code::timeout, "held up"));
  std::set<std::uint64_t> got;  // what is in memory comes all the same
  auto item = queue().pop();
  for (; item.ok(); item = queue().pop()) got.insert(number_of(*item));
  EXPECT_ANSWER(timeout, item);
  EXPECT_LT(got.size(), 300u);
  tier->fail_loads({});
  for (std::uint64_t n : popped()) EXPECT_TRUE(got.insert(n).second) << n;
  EXPECT_EQ(got.size(), 1000u);
  EXPECT_TRUE(clean(*pond));
}

class DelayedInMemory : public DelayedSpill {
 protected:
  DelayedInMemory() : DelayedSpill(in_memory()) {}
  static Options in_memory() {
    Options options = sized(1 << 20, 4096);
    options.on_full = OnFull::fail;
    return options;
  }
};

TEST_F(DelayedInMemory, WhatIsDueInAFullPondSpillsNothing) {
  Queue q = queue();
  std::uint64_t n = 0;
  while (q.push(patterned(n + 1, 100), {.delay = hours(1)})) n++;
  ASSERT_GT(n, 4000u);
  ahead(hours(2));
  EXPECT_EQ(popped(), numbers(1, n));
  EXPECT_EQ(tier->declared(), 0u);
  EXPECT_EQ(tier->rows(), 0u);
  EXPECT_TRUE(clean(*pond));
}

class DelayedFlood : public DelayedSpill {
 protected:
  DelayedFlood() : DelayedSpill(sized(8 << 20, 65536)) {}
};

TEST_F(DelayedFlood, MoreThanThePondHasMemoryForIsTakenAndEachComesOnce) {
  constexpr std::uint64_t kItems = 200'000;
  Queue q = queue();
  for (std::uint64_t n = 1; n <= kItems; n++) {
    ASSERT_OK(q.push(patterned(n, 64), {.delay = hours(1)}));
    if (n % 20'000 == 0) expect_bounded();
  }
  EXPECT_EQ(must(q.stats()).delayed, kItems);
  EXPECT_TRUE(clean(*pond));
  EXPECT_ANSWER(empty, q.claim());
  ahead(hours(2));
  std::vector<bool> came(kItems + 1);
  std::uint64_t n = 0;
  for (;;) {
    auto item = q.pop();
    if (!item) {
      EXPECT_ANSWER(empty, item);
      break;
    }
    std::uint64_t number = number_of(*item);
    ASSERT_LE(number, kItems);
    ASSERT_FALSE(came[number]) << number;
    came[number] = true;
    if (++n % 20'000 == 0) expect_bounded();
  }
  EXPECT_EQ(n, kItems);
  EXPECT_TRUE(clean(*pond));
}

}  // namespace
