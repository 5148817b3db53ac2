// The segment is gone, and the pond comes back from its durable tier: after a reboot, as tests can have one.

#include <gmock/gmock.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "src/layout.h"
#include "src/sys.h"
#include "support/deadly_disk.h"
#include "support/foreign.h"
#include "support/test_pond.h"
#include "support/test_tier.h"

namespace {

using namespace support;
using testing::HasSubstr;

Options small() {
  Options options;
  options.limit_bytes = 1 << 20, options.max_page_bytes = 4096;
  return options;
}
constexpr std::uint64_t kEpoch = 1ULL << 40;

using Numbers = std::vector<std::uint64_t>;

class Rebuild : public ::testing::Test {
 protected:
  explicit Rebuild(Options options = small()) : pond(std::move(options)) {}

  static void push(const Pond& opened, std::uint64_t from, std::uint64_t to, std::size_t size = 200,
                   Bytes name = "work") {
    Queue queue = opened.scope("scope").queue(name);
    for (std::uint64_t n = from; n <= to; n++) must(queue.push(patterned(n, size)));
  }
  static void append(const Pond& opened, std::uint64_t from, std::uint64_t to, std::size_t size = 200) {
    Log log = opened.scope("scope").log("audit");
    for (std::uint64_t n = from; n <= to; n++) must(log.append(patterned(n, size)));
  }
  static Numbers popped(const Pond& opened, Bytes name = "work") {
    return pop_numbers(opened.scope("scope").queue(name));
  }
  static std::vector<std::pair<std::uint64_t, std::uint64_t>> records(const Pond& opened,
                                                                      std::int64_t after = 0) {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> out;
    for (auto& [seq, bytes] : read_all(opened.scope("scope").log("audit"), {.after = after}))
      out.emplace_back(seq, number_of(bytes));
    return out;
  }

  /// Rows of the tier, by stream and first id; opened beside the pond, so for dead ponds only.
  std::vector<std::pair<std::uint64_t, TierSpan>> rows() const {
    auto tier = must(try_tier(pond.folder(), false));
    std::vector<std::pair<std::uint64_t, TierSpan>> out;
    for (std::uint64_t stream : must(tier->streams_with_rows(soon())))
      EXPECT_OK(tier->list(
          stream, [&](const TierSpan& span) { return out.emplace_back(stream, span), Status(); }, soon()));
    return out;
  }
  /// The ids in rows: items of a queue that were pushed as their ids.
  Numbers ids_in_rows() const {
    Numbers out;
    for (auto& [stream, span] : rows())
      for (std::uint64_t id = span.first; id <= span.last; id++) out.push_back(id);
    return out;
  }

  TestPond pond;
};

// ---------------------------------------------------------------------------------------------------------------- what comes back

TEST_F(Rebuild, WhatWasSpilledComesBackInOrderAndWhatWasInMemoryAloneIsGone) {
  pond.in_a_life([&](const Pond& opened) { push(opened, 1, 10'000); });
  pond.lose_segment();
  Numbers expected = ids_in_rows();  // never consumed: rows and items are one to one
  ASSERT_GT(expected.size(), 4000u);
  ASSERT_LT(expected.size(), 10'000u);

  Pond opened = pond.open();
  Recovered found = opened.recovered();
  EXPECT_EQ(found.epoch, 2u);
  EXPECT_EQ(found.streams, 1u);
  EXPECT_EQ(found.items, expected.size());
  EXPECT_EQ(found.payload_bytes, 200 * expected.size());
  EXPECT_EQ(found.damaged_rows, 0u);
  EXPECT_EQ(found.from_journal, 0u);
  EXPECT_EQ(found.unknown_items, expected.back() - expected.front() + 1 - expected.size());
  EXPECT_TRUE(clean(opened));
  Queue queue = opened.scope("scope").queue("work");
  EXPECT_EQ(*queue.size(), expected.size());
  EXPECT_EQ(must(queue.push(patterned(70'000, 200))).seq(), 2 * kEpoch + 1);
  expected.push_back(70'000);
  EXPECT_EQ(popped(opened), expected);
  EXPECT_TRUE(clean(opened));
  EXPECT_EQ(*queue.size(), 0u);
}

TEST_F(Rebuild, IdsAreNeverUsedTwiceNotEvenThoseInMemoryAlone) {
  std::set<std::uint64_t> seen;
  Shared<std::array<std::atomic<std::uint64_t>, 3>> ids;
  for (int life = 1; life <= 4; life++) {
    pond.in_a_life([&](const Pond& opened) {
      push(opened, 1, 6000);
      (*ids)[0] = must(opened.scope("scope").queue("work").push("x")).seq();
      (*ids)[1] = must(opened.scope("other").queue("hot").push("never spilled")).seq();
      (*ids)[2] = must(opened.scope("other").log("hot").append("never spilled"));
    });
    EXPECT_TRUE(seen.insert((*ids)[0]).second);
    EXPECT_EQ((*ids)[1] >> 40, life == 1 ? 0u : static_cast<unsigned>(life));
    EXPECT_EQ((*ids)[1], (*ids)[2]);
    pond.lose_segment();
  }
}

// Rows of several epochs in one stream, spilled again and again, in the order in which they were pushed.
TEST_F(Rebuild, OrderIsContinuousOverManyRebuilds) {
  for (std::uint64_t life = 0; life < 4; life++) {
    pond.in_a_life([&](const Pond& opened) { push(opened, life * 10'000 + 1, life * 10'000 + 7000); });
    pond.lose_segment();
  }
  Numbers numbers;
  {
    Pond opened = pond.open();
    EXPECT_TRUE(clean(opened));
    EXPECT_EQ(*opened.scope("scope").queue("work").size(), opened.recovered().items);
    numbers = popped(opened);
    EXPECT_TRUE(clean(opened));
    EXPECT_EQ(numbers.size(), opened.recovered().items);
  }
  EXPECT_TRUE(std::is_sorted(numbers.begin(), numbers.end()));
  EXPECT_EQ(std::set<std::uint64_t>(numbers.begin(), numbers.end()).size(), numbers.size());
  for (std::uint64_t life = 0; life < 4; life++)  // each life's oldest went out
    EXPECT_TRUE(
        std::any_of(numbers.begin(), numbers.end(), [&](std::uint64_t n) { return n / 10'000 == life; }));
}

TEST_F(Rebuild, WhatWasConsumedInMemoryMayComeBackAndNothingElseIsMissing) {
  pond.in_a_life([&](const Pond& opened) {
    push(opened, 1, 10'000);
    Queue queue = opened.scope("scope").queue("work");
    for (int n = 0; n < 4000; n++) must(queue.pop());
  });
  pond.lose_segment();
  Numbers in_rows = ids_in_rows();
  Pond opened = pond.open();
  Numbers back = popped(opened);
  EXPECT_TRUE(std::is_sorted(back.begin(), back.end()));
  EXPECT_EQ(std::set<std::uint64_t>(back.begin(), back.end()).size(), back.size());
  std::set<std::uint64_t> set(back.begin(), back.end()), all(in_rows.begin(), in_rows.end());
  for (std::uint64_t n : in_rows) EXPECT_TRUE(n <= 4000 || set.contains(n)) << "lost " << n;
  for (std::uint64_t n : back) EXPECT_TRUE(all.contains(n)) << "from nowhere " << n;
  EXPECT_LT(4000 - std::min<std::uint64_t>(back.front(), 4000),
            1000u);  // rows whose items were all done had gone
}

TEST_F(Rebuild, LogsComeBackAndSayHowManyRecordsAreLost) {
  pond.in_a_life([&](const Pond& opened) { append(opened, 1, 10'000); });
  pond.lose_segment();
  Numbers expected = ids_in_rows();
  Pond opened = pond.open();
  EXPECT_TRUE(clean(opened));
  Recovered found = opened.recovered();
  EXPECT_EQ(found.items, expected.size());
  EXPECT_EQ(found.lost_records, expected.back() - expected.front() + 1 - expected.size());
  Log log = opened.scope("scope").log("audit");
  EXPECT_EQ(*log.last_seq(), expected.back());
  auto back = records(opened);
  ASSERT_EQ(back.size(), expected.size());
  for (std::size_t i = 0; i < back.size(); i++) {
    EXPECT_EQ(back[i].first, expected[i]);
    EXPECT_EQ(back[i].second, expected[i]);
  }
  EXPECT_EQ(records(opened, static_cast<std::int64_t>(expected[100])).size(), expected.size() - 101);
  EXPECT_EQ(must(log.append(patterned(1, 8))), 2 * kEpoch + 1);
  EXPECT_EQ(records(opened).size(), expected.size() + 1);
  EXPECT_EQ(records(opened, static_cast<std::int64_t>(expected.back())).size(), 1u);
  EXPECT_EQ(*log.last_seq(), 2 * kEpoch + 1);
  LogStats stats = must(log.stats());
  EXPECT_EQ(stats.records, expected.size() + 1);
  EXPECT_EQ(stats.first_seq, expected.front());
}

// Ids are missing between the rows of a log: a reader goes over them, and over those behind the last row.
TEST_F(Rebuild, ATrimOfALogThatCameBackTakesWhatIsBelowAlone) {
  pond.in_a_life([&](const Pond& opened) { append(opened, 1, 10'000); });
  pond.lose_segment();
  Pond opened = pond.open();
  Log log = opened.scope("scope").log("audit");
  auto before = records(opened);
  ASSERT_GT(before.size(), 4000u);
  EXPECT_EQ(must(log.trim(1)), before.front().first);
  EXPECT_EQ(records(opened), before);
  const std::size_t half = before.size() / 2;
  EXPECT_EQ(must(log.trim(before[half].first)), before[half].first);
  EXPECT_EQ(records(opened),
            decltype(before)(before.begin() + static_cast<std::ptrdiff_t>(half), before.end()));
  must(log.append("goes on"));
  EXPECT_EQ(must(log.trim(before.back().first + 1)), before.back().first + 1);
  EXPECT_EQ(records(opened).size(), 1u);
  EXPECT_TRUE(clean(opened));
}

TEST_F(Rebuild, ALogWithHolesIsReadOverThem) {
  for (std::uint64_t life = 0; life < 3; life++) {
    pond.in_a_life([&](const Pond& opened) { append(opened, life * 10'000 + 1, life * 10'000 + 6000); });
    pond.lose_segment();
  }
  Pond opened = pond.open();
  EXPECT_TRUE(clean(opened));
  auto back = records(opened);
  EXPECT_EQ(back.size(), opened.recovered().items);
  EXPECT_TRUE(std::is_sorted(back.begin(), back.end()));
  for (std::size_t i = 0; i < back.size(); i += 500)  // from anywhere, also from ids that are missing
    for (std::int64_t off : {-1, 0, 1}) {
      auto after = static_cast<std::int64_t>(back[i].first) + off;
      auto from = std::upper_bound(back.begin(), back.end(),
                                   std::pair{static_cast<std::uint64_t>(after), UINT64_MAX});
      EXPECT_EQ(records(opened, after).size(), static_cast<std::size_t>(back.end() - from))
          << "after " << after;
    }
  EXPECT_EQ(records(opened, static_cast<std::int64_t>(back.back().first)).size(), 0u);
  append(opened, 90'001, 96'000);  // spilled again behind what came back
  EXPECT_EQ(records(opened).size(), back.size() + 6000);
  EXPECT_TRUE(clean(opened));
}

TEST_F(Rebuild, LanesAndDeadLettersComeBackWhereTheyWere) {
  pond.in_a_life([&](const Pond& opened) {
    Queue queue = opened.scope("scope").queue("work");
    for (std::uint64_t n = 1; n <= 9000; n++)
      must(
          queue.push(patterned(n, 200), {.delay = milliseconds(0), .priority = static_cast<int>(n % 2 * 5)}));
  });
  pond.lose_segment();
  Pond opened = pond.open();
  EXPECT_TRUE(clean(opened));
  Numbers back = popped(opened);
  EXPECT_EQ(back.size(), opened.recovered().items);
  auto odd_end = std::find_if(back.begin(), back.end(), [](std::uint64_t n) { return n % 2 == 0; });
  EXPECT_TRUE(std::is_sorted(back.begin(), odd_end));  // the higher priority first
  EXPECT_TRUE(std::is_sorted(odd_end, back.end()));
  EXPECT_TRUE(std::none_of(odd_end, back.end(), [](std::uint64_t n) { return n % 2 == 1; }));
}

TEST_F(Rebuild, DelayedItemsComeBackWhenTheyAreDueAndTakeNoMemoryBefore) {
  pond.in_a_life([&](const Pond& opened) {
    Queue queue = opened.scope("scope").queue("work");
    for (std::uint64_t n = 1; n <= 10'000; n++)
      must(queue.push(patterned(n, 200), {.delay = n % 100 == 50 ? 1h : 3h}));
  });
  pond.lose_segment();
  Numbers later = ids_in_rows(), due;
  ASSERT_GT(later.size(), 4000u);
  std::copy_if(later.begin(), later.end(), std::back_inserter(due), [](auto n) { return n % 100 == 50; });
  std::erase_if(later, [](auto n) { return n % 100 == 50; });

  Pond opened = pond.open();
  Queue queue = opened.scope("scope").queue("work");
  EXPECT_LT(must(opened.stats()).page_bytes, 16'384u);
  EXPECT_EQ(must(queue.stats()).delayed, due.size() + later.size());
  EXPECT_TRUE(clean(opened));
  EXPECT_ANSWER(empty, queue.claim());
  internal::sys::wall_ahead_ms = 2 * 3'600'000;
  EXPECT_EQ(popped(opened), due);
  EXPECT_TRUE(clean(opened));
  internal::sys::wall_ahead_ms = 4 * 3'600'000;
  EXPECT_EQ(popped(opened), later);
  internal::sys::wall_ahead_ms = 0;
  EXPECT_TRUE(clean(opened));
}

TEST_F(Rebuild, ManySmallStreamsComeBack) {
  pond.in_a_life([&](const Pond& opened) {
    for (std::uint64_t n = 0; n < 8000; n++)
      must(opened.scope("s" + std::to_string(n % 40)).queue().push(patterned(n, 300)));
  });
  pond.lose_segment();
  Pond opened = pond.open();
  EXPECT_TRUE(clean(opened));
  std::uint64_t count = 0;
  for (std::uint64_t s = 0; s < 40; s++) {
    std::uint64_t last = 0;
    for (const std::string& item : pop_all(opened.scope("s" + std::to_string(s)).queue())) {
      std::uint64_t n = number_of(item);
      EXPECT_EQ(n % 40, s);
      EXPECT_TRUE(n > last || last == 0);
      last = n, count++;
    }
  }
  EXPECT_EQ(count, opened.recovered().items);
  EXPECT_GT(count, 3000u);
}

TEST_F(Rebuild, ManyMoreScopesThanThePondHasMemoryForComeBackParked) {
  constexpr std::uint64_t kScopes = 2000, kItems = 3;
  auto queue = [](const Pond& opened, std::uint64_t scope) {
    return opened.scope(std::to_string(scope)).queue("work");
  };
  pond.in_a_life([&](const Pond& opened) {
    for (std::uint64_t scope = 0; scope < kScopes; scope++)
      for (std::uint64_t n = 1; n <= kItems; n++) must(queue(opened, scope).push(patterned(n, 500)));
    EXPECT_TRUE(eventually([&] {
      must(opened.gc({.spill_idle = std::chrono::milliseconds(1)}));
      return must(opened.stats()).parked == kScopes;
    }));
  });
  for (std::uint64_t epoch = 2; epoch <= 3; epoch++) {
    pond.lose_segment();
    Pond opened = pond.open();
    EXPECT_EQ(opened.recovered().streams, kScopes);
    EXPECT_EQ(opened.recovered().items, kScopes * kItems);
    Stats stats = must(opened.stats());
    EXPECT_EQ(stats.parked, kScopes);
    EXPECT_EQ(stats.page_bytes, 0u) << "nobody has used them yet";
    EXPECT_TRUE(clean(opened));
    // As if by a reboot, before anybody has come to them.
    EXPECT_EQ(must(queue(opened, 7).push(patterned(kItems + epoch, 500))).seq(), epoch * kEpoch + 1);
    EXPECT_EQ(must(queue(opened, 7).peek(99)).size(), kItems + 1);
    EXPECT_TRUE(clean(opened));
    if (epoch == 2) continue;
    for (std::uint64_t scope = 0; scope < kScopes; scope++) {
      std::vector<std::string> items = pop_all(queue(opened, scope));
      ASSERT_EQ(items.size(), kItems + (scope == 7)) << "scope " << scope;
      for (std::uint64_t n = 1; n <= kItems; n++) EXPECT_EQ(number_of(items[n - 1]), n);
    }
    EXPECT_TRUE(clean(opened));
  }
}

TEST_F(Rebuild, ALogThatIsParkedAgainAfterARebuildGoesOnAboveAndIsReadOver) {
  pond.in_a_life([&](const Pond& opened) {
    append(opened, 1, 30);
    EXPECT_TRUE(eventually(
        [&] { return must(opened.gc({.spill_idle = std::chrono::milliseconds(1)})).parked == 1; }));
  });
  pond.lose_segment();
  Pond opened = pond.open();
  auto expected = records(opened);
  ASSERT_EQ(expected.size(), 30u);
  auto park = [&] {
    EXPECT_TRUE(eventually([&] {
      must(opened.gc({.spill_idle = std::chrono::milliseconds(1)}));
      return must(opened.stats()).parked == 1;
    }));
    EXPECT_TRUE(clean(opened));
  };
  park();
  EXPECT_EQ(records(opened), expected);
  append(opened, 31, 60);
  for (std::uint64_t n = 31; n <= 60; n++) expected.emplace_back(2 * kEpoch + n - 30, n);
  EXPECT_EQ(records(opened), expected);
  park();
  EXPECT_EQ(records(opened), expected);
  EXPECT_TRUE(clean(opened));
}

TEST_F(Rebuild, AClearedQueueStaysCleared) {
  pond.in_a_life([&](const Pond& opened) {
    push(opened, 1, 6000);
    must(opened.scope("scope").queue("work").clear());
    push(opened, 20'001, 26'000);
    push(opened, 1, 3000, 200, "other");
    must(opened.scope("scope").queue("other").clear());
  });
  pond.lose_segment();
  Pond opened = pond.open();
  Numbers back = popped(opened);
  EXPECT_GT(back.size(), 1000u);
  EXPECT_TRUE(std::all_of(back.begin(), back.end(), [](std::uint64_t n) { return n > 20'000; }));
  EXPECT_TRUE(popped(opened, "other").empty());
  EXPECT_TRUE(clean(opened));
}

// ------------------------------------------------------------------------------------------------------------------ when it is done

TEST_F(Rebuild, ASegmentOfAnOldBootIsReplaced) {
  pond.in_a_life([&](const Pond& opened) { push(opened, 1, 6000); });
  Numbers expected = ids_in_rows();
  {
    std::fstream file(pond.segment_path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(offsetof(internal::Header, boot_id));
    file << "00000000-0000-0000-0000-000000000000";
  }
  Pond opened = must(Pond::open_existing(pond.name()));
  EXPECT_EQ(opened.recovered().epoch, 2u);
  EXPECT_EQ(popped(opened), expected);
}

TEST_F(Rebuild, OpenExistingRebuildsAndKnowsNothingElse) {
  EXPECT_ANSWER(not_found, Pond::open_existing(pond.name()));
  pond.in_a_life([&](const Pond& opened) { push(opened, 1, 6000); });
  pond.lose_segment();
  EXPECT_EQ(must(Pond::open_existing(pond.name())).recovered().epoch, 2u);
}

TEST_F(Rebuild, APondThatNeverSpilledBeginsAnew) {
  pond.in_a_life([&](const Pond& opened) { push(opened, 1, 10); });
  pond.lose_segment();
  EXPECT_ANSWER(not_found, Pond::open_existing(pond.name()));
  Pond opened = pond.open();
  EXPECT_EQ(opened.recovered().epoch, 0u);
  EXPECT_EQ(must(opened.scope("scope").queue("work").push("x")).seq(), 1u);
}

TEST_F(Rebuild, RemoveTakesTheTierUnlessItIsToBeKept) {
  pond.in_a_life([&](const Pond& opened) { push(opened, 1, 6000); });
  Numbers expected = ids_in_rows();
  EXPECT_OK(Pond::remove(pond.name(), {.keep_state = true}));
  EXPECT_TRUE(std::filesystem::exists(pond.folder() / "spill.db"));
  pond.in_a_life([&](const Pond& opened) { EXPECT_EQ(popped(opened), expected); });
  EXPECT_OK(Pond::remove(pond.name()));
  EXPECT_FALSE(std::filesystem::exists(pond.folder()));
  EXPECT_ANSWER(not_found, Pond::open_existing(pond.name()));
  EXPECT_EQ(pond.open().recovered().epoch, 0u);
}

TEST_F(Rebuild, EverybodyIsToldOfIt) {
  pond.in_a_life([&](const Pond& opened) { push(opened, 1, 6000); });
  pond.lose_segment();
  Pond opened = pond.open();
  Process other([&] {
    EXPECT_EQ(pond.open().recovered().items, opened.recovered().items);
    EXPECT_THAT(must(pond.open().stats()).json(), HasSubstr("\"recovered\":{"));
  });
  EXPECT_EQ(other.wait(), 0);
}

TEST_F(Rebuild, ManyOpenersAtOnceRebuildOnce) {
  pond.in_a_life([&](const Pond& opened) { push(opened, 1, 6000); });
  pond.lose_segment();
  Shared<Barrier> barrier;
  std::vector<Process> openers;
  for (int i = 0; i < 6; i++)
    openers.emplace_back([&] {
      barrier->meet(6);
      EXPECT_EQ(pond.open().recovered().epoch, 2u);
    });
  for (Process& opener : openers) EXPECT_EQ(opener.wait(), 0);
}

TEST_F(Rebuild, IsRefusedWhileSomebodyLivesOnTheOldSegmentAndSaysWho) {
  Shared<Event> ready, go_on;
  Process old([&] {
    Pond opened = pond.open();
    push(opened, 1, 6000);
    ready->raise();
    go_on->await();
    push(opened, 6001, 6002);  // it goes on as before
    ready->raise();
    pause_forever();
  });
  ASSERT_TRUE(ready->wait());
  pond.lose_segment();
  Process opener([&] {
    auto refused = Pond::open(pond.name(), pond.options());
    EXPECT_ANSWER(busy, refused);
    EXPECT_THAT(refused.status().text(), HasSubstr("pid " + std::to_string(old.pid())));
    EXPECT_FALSE(pond.exists());
  });
  EXPECT_EQ(opener.wait(), 0);
  go_on->raise();
  ASSERT_TRUE(ready->wait(2));
  old.kill();
  EXPECT_EQ(pond.open().recovered().epoch, 2u);
}

// ---------------------------------------------------------------------------------------------------------------------- killed

/// What is in the store, as it is told from outside.
struct Content {
  Numbers items, records;
  friend bool operator==(const Content&, const Content&) = default;
};

class KilledRebuild : public Rebuild {
 protected:
  /// Some of everything: rows of two epochs, a cleared queue, a log, and a journal with pushes, acks and moves.
  void prepare() {
    for (std::uint64_t life = 0; life < 2; life++) {
      pond.in_a_life([&](const Pond& opened) {
        push(opened, life * 10'000 + 1, life * 10'000 + 5000);
        append(opened, life * 10'000 + 1, life * 10'000 + 3000);
        push(opened, 1, 2000, 200, "cleared");
        must(opened.scope("scope").queue("cleared").clear());
      });
      pond.lose_segment();
    }
    auto tier = must(try_tier(pond.folder(), false));
    std::uint64_t lane = 0, highest = 0;
    for (const TierNames& names : must(tier->streams(soon())))
      if (names.ns == "work" && names.cleared_upto == 0) lane = names.stream;
    ASSERT_NE(lane, 0u);
    std::vector<TierSpan> spans;
    ASSERT_OK(tier->list(
        lane, [&](const TierSpan& span) { return spans.push_back(span), Status(); }, soon()));
    highest = spans.back().last;
    std::vector<std::string> payloads;
    std::vector<JournalEntry> entries;
    for (std::uint64_t n = 1; n <= 300; n++) payloads.push_back(patterned(80'000 + n, 100));
    for (std::uint64_t n = 1; n <= 300; n++)
      entries.push_back(push_of(lane, highest + 10 + n * 2, payloads[n - 1]));
    entries.push_back(ack_of(lane, spans[0].first, spans[0].last));           // a whole row
    entries.push_back(ack_of(lane, spans[1].first + 1, spans[1].first + 3));  // some of one
    entries.push_back(
        ack_of(lane, highest + 10 + 2 * 300, highest + 10 + 2 * 300));  // one of the journal's own
    must(commit_all(*tier, entries));
    tier.reset();
    backup_ = pond.home() / "backup";
    std::filesystem::copy(pond.folder(), backup_, std::filesystem::copy_options::recursive);
  }
  /// The store as it was; the segment gone.
  void restore() {
    ::unlink(pond.segment_path().c_str());
    for (const auto& entry : std::filesystem::directory_iterator(pond.folder()))
      std::filesystem::remove(entry.path());
    for (const auto& entry : std::filesystem::directory_iterator(backup_))
      std::filesystem::copy(entry.path(), pond.folder() / entry.path().filename());
  }
  Content content() {
    Content out;
    Pond opened = pond.open();
    EXPECT_TRUE(clean(opened));
    for (auto& [seq, number] : records(opened)) out.records.push_back(number);
    out.items = popped(opened);
    EXPECT_TRUE(clean(opened));
    return out;
  }
  std::filesystem::path backup_;
};

TEST_F(KilledRebuild, AtAnyWriteIsDoneAgainByTheNextOpen) {
  WITH_SEED(seed);
  Random random(seed);
  prepare();
  Shared<DeadlyDisk::Calls> calls;
  restore();
  Content expected;
  {
    Process opener([&] {
      DeadlyDisk::arm(*calls, DeadlyDisk::never);
      (void)pond.open();
    });
    ASSERT_EQ(opener.wait(), 0);
  }
  const std::uint64_t moments = 2 * *calls;
  ASSERT_GT(moments, 40u);
  expected = content();
  EXPECT_EQ(std::count_if(expected.items.begin(), expected.items.end(), [](auto n) { return n > 80'000; }),
            299);
  EXPECT_TRUE(std::is_sorted(expected.items.begin(), expected.items.end()));

  const std::uint64_t most = number_from("HEADPOND_REBUILD_KILLS", 60);
  for (std::uint64_t i = 0; i < std::min(most, moments) && !HasFailure(); i++) {
    std::uint64_t moment = most >= moments ? i : random.below(moments);
    restore();
    for (int again = 0; again < 2; again++) {  // and the one who does it again is killed, too
      *calls = 0;
      Process opener([&] {
        DeadlyDisk::arm(*calls, again ? random.below(moments) : moment);
        (void)pond.open();
      });
      opener.wait();
      EXPECT_TRUE(again || !pond.exists()) << "killed at moment " << moment << " of " << moments;
      ::unlink(pond.segment_path().c_str());
    }
    EXPECT_EQ(content(), expected) << "killed at moment " << moment << " of " << moments;
  }
}

// ------------------------------------------------------------------------------------------------------------------ refused

class RefusedRebuild : public Rebuild {
 protected:
  void SetUp() override {
    pond.in_a_life([&](const Pond& opened) { push(opened, 1, 6000); });
    expected_ = ids_in_rows();
    pond.lose_segment();
  }
  /// open() answers that and says where; there is no segment; and when the cause is gone, all is there.
  void expect_refused(Code code, const std::string& text) {
    Process opener([&] {
      auto refused = Pond::open(pond.name(), pond.options());
      EXPECT_EQ(refused.code(), code) << describe(refused.status());
      EXPECT_THAT(refused.status().text(), HasSubstr(text));
      EXPECT_FALSE(Pond::open_existing(pond.name()).ok());
    });
    EXPECT_EQ(opener.wait(), 0);
    EXPECT_FALSE(pond.exists());
  }
  void expect_rebuilt() {
    Process opener([&] { EXPECT_EQ(popped(pond.open()), expected_); });
    EXPECT_EQ(opener.wait(), 0);
  }
  void save(const std::string& name) {
    for (const char* end : {"", "-wal", "-shm"})
      copy(pond.folder() / (name + end), pond.home() / (name + end));
  }
  void put_back(const std::string& name) {
    for (const char* end : {"", "-wal", "-shm"})
      copy(pond.home() / (name + end), pond.folder() / (name + end));
  }
  static void copy(const std::filesystem::path& from, const std::filesystem::path& to) {
    std::filesystem::remove(to);
    if (std::filesystem::exists(from)) std::filesystem::copy(from, to);
  }
  void run(const std::string& name, const std::string& sql) { Foreign(pond.folder() / name).run(sql); }
  Numbers expected_;
};

TEST_F(RefusedRebuild, ByADatabaseOfGarbage) {
  for (const char* name : {"spill.db", "journal.db"}) {
    save(name);
    for (const char* end : {"-wal", "-shm"})
      std::filesystem::remove(pond.folder() / (std::string(name) + end));
    std::ofstream(pond.folder() / name, std::ios::binary | std::ios::trunc) << std::string(100'000, 'x');
    ::chmod((pond.folder() / name).c_str(), 0600);
    expect_refused(Code::corruption, name);
    put_back(name);
  }
  expect_rebuilt();
}

TEST_F(RefusedRebuild, ByAMissingDatabase) {
  for (const char* name : {"spill.db", "journal.db"}) {
    save(name);
    for (const char* end : {"", "-wal", "-shm"})
      std::filesystem::remove(pond.folder() / (std::string(name) + end));
    expect_refused(Code::corruption, name);
    put_back(name);
  }
  expect_rebuilt();
}

TEST_F(RefusedRebuild, ByAForeignOrANewerDatabase) {
  for (const char* name : {"spill.db", "journal.db"}) {
    save(name);
    run(name, "PRAGMA application_id = 12345");
    expect_refused(Code::corruption, name);
    put_back(name);
    run(name, "PRAGMA user_version = 1000");
    expect_refused(Code::unsupported, name);
    put_back(name);
  }
  expect_rebuilt();
}

TEST_F(RefusedRebuild, ByRowsWithoutANameWhichAreNeverDropped) {
  save("journal.db");
  run("journal.db", "DELETE FROM stream");
  expect_refused(Code::corruption, "nobody declared");
  put_back("journal.db");
  expect_rebuilt();
}

TEST_F(RefusedRebuild, ByAFileOfTheWrongMode) {
  ASSERT_EQ(::chmod((pond.folder() / "spill.db").c_str(), 0644), 0);
  expect_refused(Code::permission, "spill.db");
  ASSERT_EQ(::chmod((pond.folder() / "spill.db").c_str(), 0600), 0);
  expect_rebuilt();
}

// A damaged row is no reason to refuse: the rest is there, and who comes to it is told which ids are meant.
TEST_F(RefusedRebuild, NotByADamagedRow) {
  std::uint64_t first = rows()[3].second.first;
  run("spill.db", "UPDATE page SET bytes = zeroblob(length(bytes)) WHERE first = " + std::to_string(first));
  Process opener([&] {
    Pond opened = pond.open();
    EXPECT_EQ(opened.recovered().damaged_rows, 1u);
    EXPECT_GT(opened.recovered().damaged_items, 5u);
    Queue queue = opened.scope("scope").queue("work");
    for (std::uint64_t n : expected_) {
      if (n == first) break;
      EXPECT_EQ(number_of(must(queue.pop())), n);
    }
    for (int i = 0; i < 2; i++) {
      auto stopped = queue.pop();
      EXPECT_ANSWER(corruption, stopped);
      EXPECT_THAT(stopped.status().text(), HasSubstr(std::to_string(first)));
    }
  });
  EXPECT_EQ(opener.wait(), 0);
}

}  // namespace
