// Every operation of a log, one fact a test, in one process.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <string>
#include <thread>
#include <vector>

#include "support/test_pond.h"

namespace {

using namespace headpond;
using namespace support;

using Records = std::vector<std::pair<std::uint64_t, std::string>>;

std::vector<std::uint64_t> seqs(const Records& records) {
  std::vector<std::uint64_t> all;
  for (const auto& [seq, payload] : records) all.push_back(seq);
  return all;
}

class LogTest : public ::testing::Test {
 protected:
  void TearDown() override { EXPECT_TRUE(clean(pond_)); }

  TestPond test_;
  Pond pond_ = test_.open();
  Log log_ = pond_.scope("scope").log("ns", "key");
};

// ------------------------------------------------------------------------------------------------- append and scan

TEST_F(LogTest, ANewLogIsEmpty) {
  EXPECT_TRUE(read_all(log_).empty());
  EXPECT_EQ(must(log_.last_seq()), 0u);
  EXPECT_EQ(must(log_.stats()).records, 0u);
  EXPECT_EQ(must(log_.clear()), 0u);
}

TEST_F(LogTest, SeqsRiseFromOne) {
  for (std::uint64_t seq = 1; seq <= 1000; ++seq) {
    ASSERT_EQ(must(log_.append("record")), seq);
    ASSERT_EQ(must(log_.last_seq()), seq);
  }
}

TEST_F(LogTest, AScanFindsEveryRecordInOrder) {
  for (std::uint64_t seq = 1; seq <= 5000; ++seq) must(log_.append(patterned(seq, 8 + seq % 100)));
  std::uint64_t expected = 0;
  Scan scan = log_.scan();
  for (const Record& record : scan) {
    ASSERT_EQ(record.seq, ++expected);
    ASSERT_EQ(number_of(record.payload), expected);
  }
  EXPECT_OK(scan.status());
  EXPECT_EQ(expected, 5000u);
}

TEST_F(LogTest, AfterZeroAndAfterMinusOneBothSeeEverything) {
  must(log_.append("1"));
  must(log_.append("2"));
  const Records all = {{1, "1"}, {2, "2"}};
  EXPECT_EQ(read_all(log_), all);
  EXPECT_EQ(read_all(log_, {.after = 0}), all);
  EXPECT_EQ(read_all(log_, {.after = -1}), all);
  EXPECT_EQ(read_all(log_, {.after = INT64_MIN}), all);
}

TEST_F(LogTest, AScanBeginsAfterItsSeq) {
  for (int i = 1; i <= 3000; ++i) must(log_.append(std::to_string(i)));
  for (std::int64_t after : {1, 2, 1499, 2998, 2999}) {
    const Records records = read_all(log_, {.after = after});
    ASSERT_EQ(records.size(), static_cast<std::size_t>(3000 - after));
    EXPECT_EQ(records.front().second, std::to_string(after + 1));
    EXPECT_EQ(records.back().first, 3000u);
  }
  EXPECT_TRUE(read_all(log_, {.after = 3000}).empty());
  EXPECT_TRUE(read_all(log_, {.after = 4000}).empty());
  EXPECT_TRUE(read_all(log_, {.after = INT64_MAX}).empty());
}

TEST_F(LogTest, AScanEndsAtItsLimit) {
  for (int i = 1; i <= 100; ++i) must(log_.append(std::to_string(i)));
  EXPECT_TRUE(read_all(log_, {.limit = 0}).empty());
  EXPECT_EQ(seqs(read_all(log_, {.limit = 3})), (std::vector<std::uint64_t>{1, 2, 3}));
  EXPECT_EQ(seqs(read_all(log_, {.after = 98, .limit = 3})), (std::vector<std::uint64_t>{99, 100}));
}

TEST_F(LogTest, ScansOfOneRecordEachReplayTheLog) {
  for (std::uint64_t i = 1; i <= 2000; ++i) must(log_.append(patterned(i, 64)));
  std::int64_t after = -1;
  for (std::uint64_t i = 1; i <= 2000; ++i) {
    Scan scan = log_.scan({.after = after, .limit = 1});
    ASSERT_TRUE(scan.next());
    ASSERT_EQ(number_of(scan.record().payload), i);
    after = static_cast<std::int64_t>(scan.record().seq);
    ASSERT_FALSE(scan.next());
  }
}

TEST_F(LogTest, AScanMayBeRepeated) {
  for (int i = 0; i < 10; ++i) must(log_.append("x"));
  const Records first = read_all(log_);
  EXPECT_EQ(read_all(log_), first);
}

TEST_F(LogTest, APayloadIsReadInPlaceUntilTheNextOne) {
  must(log_.append("one"));
  must(log_.append("two"));
  Scan scan = log_.scan();
  ASSERT_TRUE(scan.next());
  const Bytes first = scan.record().payload;
  EXPECT_EQ(first, "one");
  EXPECT_EQ(mappings_of("headpond."), mappings_of(test_.name()));
  must(log_.append("three"));
  EXPECT_EQ(first, "one");
  ASSERT_TRUE(scan.next());
  EXPECT_EQ(scan.record().payload, "two");
}

TEST_F(LogTest, AScanMayBeMovedOnItsWay) {
  for (int i = 1; i <= 100; ++i) must(log_.append(std::to_string(i)));
  Scan scan = log_.scan();
  ASSERT_TRUE(scan.next());
  Scan moved = std::move(scan);
  ASSERT_TRUE(moved.next());
  EXPECT_EQ(moved.record().payload, "2");
  scan = std::move(moved);
  ASSERT_TRUE(scan.next());
  EXPECT_EQ(scan.record().payload, "3");
}

TEST_F(LogTest, HandlesOfTheSameNamesAreTheSameLog) {
  Log same = pond_.scope("scope").log("ns", "key");
  must(log_.append("1"));
  must(same.append("2"));
  EXPECT_EQ(read_all(same), read_all(log_));
  EXPECT_EQ(must(log_.last_seq()), 2u);
}

TEST_F(LogTest, NamespaceAndKeyAreApart) {
  const std::string zero("\0", 1);
  const std::vector<std::pair<std::string, std::string>> names = {
      {"", ""},      {"a", ""},
      {"", "a"},     {"a", "bc"},
      {"ab", "c"},   {"abc", ""},
      {"", "abc"},   {"a" + zero, ""},
      {"a", zero},   {zero, "a"},
      {"ns", "key"}, {"key", "ns"},
      {"n", "skey"}, {std::string(1024, 'k'), std::string(1024, 'k')}};
  for (const auto& [ns, key] : names) must(pond_.scope("scope").log(ns, key).append(ns + "|" + key));
  for (const auto& [ns, key] : names) {
    EXPECT_EQ(read_all(pond_.scope("scope").log(ns, key)), (Records{{1, ns + "|" + key}}));
  }
}

TEST_F(LogTest, ALogAndAQueueOfTheSameNameAreApart) {
  Scope scope = pond_.scope("scope");
  must(scope.log("same").append("record"));
  must(scope.queue("same").push("item"));
  EXPECT_EQ(pop_all(scope.queue("same")), (std::vector<std::string>{"item"}));
  EXPECT_EQ(read_all(scope.log("same")), (Records{{1, "record"}}));
}

TEST_F(LogTest, ALogWithATooLongNameAnswersSo) {
  const std::string name(65'536, 'n');
  for (Log log : {pond_.scope(name).log("x"), pond_.scope("s").log(name), pond_.scope("s").log("x", name)}) {
    EXPECT_ANSWER(too_large, log.append("x"));
    EXPECT_ANSWER(too_large, log.last_seq());
    Scan scan = log.scan();
    EXPECT_FALSE(scan.next());
    EXPECT_ANSWER(too_large, scan.status());
  }
}

// ------------------------------------------------------------------------------------------------- sizes and batches

TEST_F(LogTest, RecordsOfEverySizeComeBackAsTheyWere) {
  std::vector<std::size_t> sizes = {8,      9,      1000,   1023,   1024,    16'383,
                                    16'384, 16'385, 65'536, 70'000, 1 << 20, 9 << 20};
  for (std::size_t size : sizes) must(log_.append(patterned(size, size)));
  must(log_.append(""));
  std::size_t i = 0;
  for (const Record& record : log_.scan({.limit = sizes.size()})) {
    EXPECT_EQ(number_of(record.payload), sizes[i++]);
  }
  EXPECT_EQ(i, sizes.size());
  EXPECT_EQ(read_all(log_, {.after = static_cast<std::int64_t>(sizes.size())}),
            (Records{{sizes.size() + 1, ""}}));
}

TEST_F(LogTest, ARecordMayHave64MiB) {
  const std::string large = patterned(7, 64 << 20);
  must(log_.append("before"));
  must(log_.append(large));
  must(log_.append("after"));
  Scan scan = log_.scan({.after = 1});
  ASSERT_TRUE(scan.next());
  EXPECT_TRUE(scan.record().payload == large);
  ASSERT_TRUE(scan.next());
  EXPECT_EQ(scan.record().payload, "after");
}

TEST_F(LogTest, ARecordOfOver1GiBIsTooLarge) {
  constexpr std::size_t kSize = (std::size_t{1} << 30) + 1;
  void* memory = ::mmap(nullptr, kSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  EXPECT_ANSWER(too_large, log_.append(Bytes(static_cast<const char*>(memory), kSize)));
  ::munmap(memory, kSize);
}

TEST_F(LogTest, AppendManyGivesConsecutiveSeqs) {
  must(log_.append("1"));
  const Bytes records[] = {"2", "3", "4"};
  EXPECT_EQ(must(log_.append_many(records)), 2u);
  EXPECT_EQ(must(log_.append("5")), 5u);
  EXPECT_EQ(read_all(log_), (Records{{1, "1"}, {2, "2"}, {3, "3"}, {4, "4"}, {5, "5"}}));
  EXPECT_ANSWER(invalid, log_.append_many({}));
}

TEST_F(LogTest, AppendManyOfManyPagesIsOneBatch) {
  std::vector<std::string> texts;
  for (std::uint64_t i = 1; i <= 30'000; ++i) texts.push_back(patterned(i, 8 + i % 40));
  must(log_.append_many(std::vector<Bytes>(texts.begin(), texts.end())));
  EXPECT_EQ(must(log_.append("end")), 30'001u);
  std::uint64_t expected = 0;
  for (const Record& record : log_.scan({.limit = 30'000})) ASSERT_EQ(number_of(record.payload), ++expected);
  EXPECT_EQ(expected, 30'000u);
}

TEST_F(LogTest, WhatIsReservedIsReadableWhenItIsCommitted) {
  must(log_.append("1"));
  Reservation reservation = must(log_.reserve(1));
  must(log_.append("3"));
  EXPECT_EQ(read_all(log_), (Records{{1, "1"}})) << "readers end before it";
  EXPECT_EQ(must(log_.last_seq()), 1u);
  reservation.data()[0] = '2';
  EXPECT_EQ(reservation.commit().value, 2u);
  EXPECT_EQ(read_all(log_), (Records{{1, "1"}, {2, "2"}, {3, "3"}}));
  EXPECT_EQ(must(log_.last_seq()), 3u);
}

TEST_F(LogTest, AnAbandonedReservationIsSteppedOver) {
  must(log_.append("1"));
  { Reservation dropped = must(log_.reserve(1000)); }
  must(log_.append("3"));
  EXPECT_EQ(read_all(log_), (Records{{1, "1"}, {3, "3"}}));
  { Reservation large = must(log_.reserve(1'000'000)); }
  const std::uint64_t seq = must(log_.append("end"));
  EXPECT_EQ(read_all(log_, {.after = 3}), (Records{{seq, "end"}}));
}

// ------------------------------------------------------------------------------------------------- follow

TEST_F(LogTest, AFollowerReadsWhatIsThereAndThenWaits) {
  must(log_.append("1"));
  must(log_.append("2"));
  Follower follower = log_.follow();
  EXPECT_EQ(must(follower.next(0ms)).payload, "1");
  EXPECT_EQ(must(follower.next(0ms)).payload, "2");
  EXPECT_ANSWER(timeout, follower.next(0ms));
  EXPECT_ANSWER(timeout, follower.next(10ms));
  must(log_.append("3"));
  const Record record = must(follower.next(0ms));
  EXPECT_EQ(record.seq, 3u);
  EXPECT_EQ(record.payload, "3");
}

TEST_F(LogTest, AFollowerBeginsAfterItsSeq) {
  for (int i = 1; i <= 10; ++i) must(log_.append(std::to_string(i)));
  Follower follower = log_.follow(8);
  EXPECT_EQ(must(follower.next(0ms)).payload, "9");
  EXPECT_EQ(must(follower.next(0ms)).payload, "10");
  Follower future = log_.follow(11);
  must(log_.append("11"));
  EXPECT_ANSWER(timeout, future.next(0ms));
  must(log_.append("12"));
  EXPECT_EQ(must(future.next(0ms)).payload, "12");
}

TEST_F(LogTest, AFollowerOfALogThatDoesNotExistYetGetsItsFirstRecord) {
  Follower follower = pond_.scope("later").log("log").follow();
  EXPECT_ANSWER(timeout, follower.next(1ms));
  std::thread writer([&] { must(pond_.scope("later").log("log").append("first")); });
  EXPECT_EQ(must(follower.next(stretched(60s))).payload, "first");
  writer.join();
}

TEST_F(LogTest, AFollowerSeesEveryRecordOfManyPagesOnce) {
  std::thread writer([&] {
    for (std::uint64_t i = 1; i <= 5000; ++i) must(log_.append(patterned(i, 8 + i % 200)));
  });
  Follower follower = log_.follow();
  for (std::uint64_t i = 1; i <= 5000; ++i) {
    const Result<Record> record = follower.next(stretched(60s));
    if (!record) {
      ADD_FAILURE() << "record " << i << ": " << describe(record.status());
      break;
    }
    EXPECT_EQ(record->seq, i);
    EXPECT_EQ(number_of(record->payload), i);
  }
  writer.join();
}

// ------------------------------------------------------------------------------------------------- trim

TEST_F(LogTest, TrimmedRecordsAreGone) {
  for (int i = 1; i <= 100; ++i) must(log_.append(std::to_string(i)));
  EXPECT_EQ(must(log_.trim(51)), 51u);
  const Records rest = read_all(log_);
  ASSERT_EQ(rest.size(), 50u);
  EXPECT_EQ(rest.front().first, 51u);
  EXPECT_EQ(read_all(log_, {.after = 10}), rest);
  EXPECT_EQ(must(log_.trim(20)), 51u) << "it never goes back";
  EXPECT_EQ(read_all(log_).size(), 50u);
  const LogStats stats = must(log_.stats());
  EXPECT_EQ(stats.records, 50u);
  EXPECT_EQ(stats.first_seq, 51u);
  EXPECT_EQ(stats.last_seq, 100u);
  EXPECT_EQ(stats.trimmed, 51u);
}

TEST_F(LogTest, TrimGivesMemoryBack) {
  for (int i = 0; i < 2000; ++i) must(log_.append(patterned(i, 1000)));
  const std::uint64_t before = must(log_.stats()).page_bytes;
  EXPECT_GE(before, 2'000'000u);
  must(log_.trim(must(log_.last_seq())));
  EXPECT_OK(pond_.reap());
  EXPECT_LE(must(log_.stats()).page_bytes, 128u << 10);
  EXPECT_LE(must(pond_.stats()).page_bytes, 256u << 10);
}

TEST_F(LogTest, ATrimOfEverythingKeepsTheSeqs) {
  for (int i = 0; i < 100; ++i) must(log_.append("x"));
  must(log_.trim(101));
  EXPECT_TRUE(read_all(log_).empty());
  EXPECT_EQ(must(log_.last_seq()), 100u);
  EXPECT_EQ(must(log_.append("next")), 101u);
  EXPECT_EQ(read_all(log_), (Records{{101, "next"}}));
}

TEST_F(LogTest, AFollowerGoesOnBehindATrim) {
  for (int i = 1; i <= 2000; ++i) must(log_.append(patterned(i, 500)));
  Follower follower = log_.follow();
  EXPECT_EQ(must(follower.next(0ms)).seq, 1u);
  must(log_.trim(1500));
  std::uint64_t last = 1;
  for (;;) {
    const Result<Record> record = follower.next(0ms);
    if (!record) {
      EXPECT_ANSWER(timeout, record);
      break;
    }
    EXPECT_GT(record->seq, last);
    EXPECT_EQ(number_of(record->payload), record->seq);
    last = record->seq;
  }
  EXPECT_EQ(last, 2000u);
}

TEST_F(LogTest, ARecordUnderAScanOutlivesItsTrim) {
  for (std::uint64_t i = 1; i <= 1000; ++i) must(log_.append(patterned(i, 500)));
  Scan scan = log_.scan();
  ASSERT_TRUE(scan.next());
  must(log_.trim(1000));
  for (std::uint64_t i = 0; i < 1000; ++i) must(log_.append(patterned(5000 + i, 500)));
  EXPECT_EQ(number_of(scan.record().payload), 1u);
}

TEST_F(LogTest, AnEndlessLogThatIsTrimmedNeedsLittleMemory) {
  for (std::uint64_t i = 1; i <= 20'000; ++i) {
    must(log_.append(patterned(i, 100)));
    if (i % 100 == 0) must(log_.trim(i - 50));
  }
  EXPECT_OK(pond_.reap());
  EXPECT_LE(must(pond_.stats()).page_bytes, 512u << 10);
}

// ------------------------------------------------------------------------------------------------- cursors

TEST_F(LogTest, ACursorIsAtZeroUntilItCommits) {
  EXPECT_EQ(must(log_.committed("reader")), 0u);
  for (int i = 0; i < 10; ++i) must(log_.append("x"));
  EXPECT_EQ(must(log_.commit("reader", 4)), 4u);
  EXPECT_EQ(must(log_.committed("reader")), 4u);
  EXPECT_EQ(must(log_.commit("reader", 2)), 4u) << "a lower seq leaves it as it is";
  EXPECT_EQ(must(log_.commit("reader", 9)), 9u);
  EXPECT_EQ(must(log_.committed("other")), 0u);
}

TEST_F(LogTest, CursorsBelongToTheirLog) {
  Log other = pond_.scope("scope").log("ns", "other");
  must(log_.append("x"));
  must(other.append("x"));
  must(log_.commit("reader", 1));
  EXPECT_EQ(must(other.committed("reader")), 0u);
}

TEST_F(LogTest, CursorNamesAreAnyBytes) {
  must(log_.append("x"));
  const std::string zero("\0", 1);
  const std::vector<std::string> names = {"", zero, "a" + zero, "a", std::string(1024, 'c')};
  for (std::size_t i = 0; i < names.size(); ++i) must(log_.commit(names[i], i));
  for (std::size_t i = 0; i < names.size(); ++i) EXPECT_EQ(must(log_.committed(names[i])), i);
}

TEST_F(LogTest, ADroppedCursorIsAtZeroAgain) {
  must(log_.append("x"));
  must(log_.commit("reader", 1));
  EXPECT_OK(log_.drop_cursor("reader"));
  EXPECT_EQ(must(log_.committed("reader")), 0u);
  EXPECT_ANSWER(not_found, log_.drop_cursor("reader"));
}

TEST_F(LogTest, TrimCommittedTrimsWhatEveryCursorHasCommitted) {
  for (int i = 1; i <= 100; ++i) must(log_.append(std::to_string(i)));
  must(log_.trim_committed());
  EXPECT_EQ(read_all(log_).size(), 100u) << "without cursors it does nothing";
  must(log_.commit("fast", 90));
  must(log_.commit("slow", 30));
  must(log_.trim_committed());
  EXPECT_EQ(read_all(log_).front().first, 31u);
  must(log_.commit("slow", 60));
  must(log_.trim_committed());
  EXPECT_EQ(read_all(log_).front().first, 61u);
  must(log_.drop_cursor("slow"));
  must(log_.trim_committed());
  EXPECT_EQ(read_all(log_).front().first, 91u);
}

// ------------------------------------------------------------------------------------------------- clear and stats

TEST_F(LogTest, ClearDropsEveryRecordAndSeqsGoOn) {
  for (int i = 0; i < 100; ++i) must(log_.append("x"));
  EXPECT_EQ(must(log_.clear()), 100u);
  EXPECT_TRUE(read_all(log_).empty());
  EXPECT_EQ(must(log_.clear()), 0u);
  const std::uint64_t next = must(log_.append("new"));
  EXPECT_GT(next, 100u);
  EXPECT_EQ(read_all(log_), (Records{{next, "new"}}));
  EXPECT_EQ(read_all(log_, {.after = 100}), (Records{{next, "new"}}));
}

TEST_F(LogTest, ClearCountsWhatATrimHasLeft) {
  for (int i = 0; i < 100; ++i) must(log_.append("x"));
  must(log_.trim(41));
  EXPECT_EQ(must(log_.clear()), 60u);
}

TEST_F(LogTest, AFollowerGoesOnBehindAClear) {
  for (int i = 0; i < 10; ++i) must(log_.append("old"));
  Follower follower = log_.follow();
  EXPECT_EQ(must(follower.next(0ms)).payload, "old");
  must(log_.clear());
  must(log_.append("new"));
  EXPECT_EQ(must(follower.next(stretched(60s))).payload, "new");
}

TEST_F(LogTest, ClearMayBeRepeatedForEver) {
  std::uint64_t last = 0;
  for (int round = 0; round < 200; ++round) {
    for (int i = 0; i < 5; ++i) {
      const std::uint64_t seq = must(log_.append("x"));
      ASSERT_GT(seq, last);
      last = seq;
    }
    ASSERT_EQ(must(log_.clear()), 5u);
  }
  EXPECT_LE(must(pond_.stats()).page_bytes, 1u << 20);
}

TEST_F(LogTest, StatsCountRecordsAndBytes) {
  must(log_.append("four"));
  must(log_.append(std::string(100, 'x')));
  const LogStats stats = must(log_.stats());
  EXPECT_EQ(stats.records, 2u);
  EXPECT_EQ(stats.payload_bytes, 104u);
  EXPECT_GE(stats.page_bytes, 1024u);
  EXPECT_EQ(stats.first_seq, 1u);
  EXPECT_EQ(stats.last_seq, 2u);
}

TEST(FullLog, AppendAnswersFullAndATrimMakesRoom) {
  TestPond test({.limit_bytes = 1 << 20, .on_full = OnFull::fail});
  Pond pond = test.open();
  Log log = pond.scope("s").log("l");
  std::uint64_t appended = 0;
  for (int round = 0; round < 5; ++round) {
    for (;;) {
      const Result<std::uint64_t> seq = log.append(patterned(appended + 1, 1000));
      if (!seq) {
        EXPECT_ANSWER(full, seq);
        break;
      }
      ASSERT_EQ(*seq, ++appended);
      ASSERT_LT(appended, 6000u);
    }
    const Records records = read_all(log);
    ASSERT_GT(records.size(), 600u);
    for (const auto& [seq, payload] : records) ASSERT_EQ(number_of(payload), seq);
    must(log.trim(appended + 1));
  }
  EXPECT_TRUE(clean(pond));
}

}  // namespace
