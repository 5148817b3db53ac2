// Durable operations over a durable tier in memory: what is in the journal when a call says `durable`, what a call says when it is not, and that
// the journal's entries follow an item wherever it goes.
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "src/attachment.h"
#include "src/directory.h"
#include "src/group_commit.h"
#include "src/journal_trim.h"
#include "src/spill.h"
#include "src/tier_side.h"
#include "support/fake_tier_pond.h"

namespace {

using namespace support;
using internal::Attachment;
using internal::JournalEntry;

constexpr Durability kMemory = Durability::memory, kPosted = Durability::posted,
                     kDurable = Durability::durable;

Options small() {
  Options options;
  options.limit_bytes = 2 << 20, options.max_page_bytes = 4096, options.on_full = OnFull::fail;
  options.durable_timeout = stretched(milliseconds(60'000));
  return options;
}

/// An item that the journal would bring back: its payload, without what stands before it in its lane, and that lane.
using Survivors = std::vector<std::string>;

class DurableTest : public FakeTierPond {
 protected:
  DurableTest() : FakeTierPond(small()) {}
  ~DurableTest() override { EXPECT_TRUE(clean(*pond)); }

  internal::ThreadContext& me() { return *attachment->thread(); }

  /// "payload@lane" of what is pushed and not acked, at the place that its entry with the most moves says; in the order of the journal.
  Survivors survivors() {
    std::map<std::pair<std::uint64_t, std::uint64_t>, JournalEntry> last;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> order;
    std::set<std::pair<std::uint64_t, std::uint64_t>> acked;
    rows_ = tier->journal();
    for (const auto& row : rows_)
      for (const auto& owned : row) {
        JournalEntry entry = owned.view();
        for (std::uint64_t seq = entry.birth_seq;
             entry.kind == JournalEntry::Kind::ack && seq <= entry.birth_last; seq++)
          acked.insert({entry.birth_stream, seq});
        if (entry.kind != JournalEntry::Kind::push) continue;
        auto [at, first] = last.try_emplace({entry.birth_stream, entry.birth_seq}, entry);
        if (first) order.push_back(at->first);
        if (entry.moves >= at->second.moves) at->second = entry;
      }
    Survivors out;
    for (auto& birth : order) {
      const JournalEntry& entry = last.at(birth);
      int lane = static_cast<int>(entry.stream & 15);
      std::string payload(entry.payload);
      if (lane == 8) payload.erase(0, 16);
      if (lane == 9) payload.erase(0, 24);
      if (!acked.count(birth)) out.push_back(payload + "@" + std::to_string(lane));
    }
    return out;
  }
  std::size_t entries() {
    std::size_t count = 0;
    for (const auto& row : tier->journal()) count += row.size();
    return count;
  }
  void trim() {
    internal::CommitLock lock;
    ASSERT_OK(lock.take(me(), internal::durable_deadline(*attachment)));
    std::uint64_t kept = 0;
    ASSERT_OK(internal::trim_journal(me(), *tier, kept, 0));
  }

 private:
  std::vector<std::vector<FakeTier::OwnedEntry>> rows_;
};

template <class Answer>
::testing::AssertionResult is_durable(const Answer& answer) {
  const Status& status = status_of(answer);
  if (status.ok() && status.durability() == kDurable) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "answered " << describe(status) << ", " << name(status.durability()) << ": " << status.text();
}
template <class Answer>
::testing::AssertionResult is_in_memory(Code cause, const Answer& answer) {
  const Status& status = status_of(answer);
  if (status.ok() && status.durability() == kMemory && status.cause() == cause)
    return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "answered " << describe(status) << ", " << name(status.durability())
                                       << ", cause " << name(status.cause());
}
#define EXPECT_DURABLE(expression) EXPECT_TRUE(is_durable(expression))
#define EXPECT_IN_MEMORY(why, expression) EXPECT_TRUE(is_in_memory(Code::why, expression))

// ----------------------------------------------------------------------------------------------------------------- answers

TEST_F(DurableTest, APushThatSaysDurableIsInTheJournalUnderItsId) {
  auto id = queue().push("item", {.durability = kDurable});
  EXPECT_DURABLE(id);
  auto rows = tier->journal();
  ASSERT_EQ(rows.size(), 1u);
  ASSERT_EQ(rows[0].size(), 1u);
  JournalEntry entry = rows[0][0].view();
  EXPECT_EQ(entry.kind, JournalEntry::Kind::push);
  EXPECT_EQ(entry.payload, "item");
  EXPECT_EQ(entry.birth_seq, id->seq());
  EXPECT_EQ(entry.seq, id->seq());
  EXPECT_EQ(entry.birth_stream, entry.stream);
  EXPECT_EQ(entry.moves, 0u);
  EXPECT_EQ(*queue().size(), 1u);
}

TEST_F(DurableTest, EveryAnswerSaysMemoryOrDurable) {
  EXPECT_IN_MEMORY(ok, queue().push("a"));
  EXPECT_IN_MEMORY(ok, queue().push("b", {.durability = kPosted}));
  EXPECT_DURABLE(queue().push("c", {.durability = kDurable}));
  EXPECT_DURABLE(queue().push("d", {.priority = 3, .durability = kDurable}));
  EXPECT_DURABLE(queue().push("e", {.delay = std::chrono::hours(1), .durability = kDurable}));
  EXPECT_IN_MEMORY(ok, log().append("f"));
  EXPECT_DURABLE(log().append("g", {.durability = kDurable}));
  auto claim = must(queue().claim());
  EXPECT_EQ(claim.payload(), "d");
  EXPECT_DURABLE(claim.ack({.durability = kDurable}));
  claim = must(queue().claim());
  EXPECT_EQ(claim.payload(), "a");
  EXPECT_IN_MEMORY(ok, claim.ack());
  EXPECT_EQ(survivors(), (Survivors{"b@0", "c@0", "e@8", "g@0"}));
}

TEST_F(DurableTest, APushWhoseCommitFailsIsThereAndSaysWhyItIsInMemory) {
  tier->fail_commits(Status(Code::full, "journal.db: no space left"));
  auto id = queue().push("item", {.durability = kDurable});
  EXPECT_IN_MEMORY(full, id);
  EXPECT_EQ(id->seq(), 1u);
  EXPECT_EQ(id.status().text(), "journal.db: no space left");
  EXPECT_EQ(*queue().size(), 1u);
  tier->fail_commits({});
  EXPECT_DURABLE(queue().push("next", {.durability = kDurable}));
  EXPECT_EQ(survivors(), (Survivors{"next@0"}))
      << "it said `memory`, and is not written behind its caller's back";
}

TEST_F(DurableTest, WhatTheTierRefusesBeforehandDidNotHappen) {
  tier->fail_declaring(Status(Code::permission, "journal.db: read-only"));
  EXPECT_ANSWER(permission, queue().push("item", {.durability = kDurable}));
  EXPECT_ANSWER(permission, log().append("record", {.durability = kDurable}));
  EXPECT_EQ(*queue().size(), 0u);
  EXPECT_EQ(*log().last_seq(), 0u);
  ASSERT_OK(queue().push("hot"));
  auto claim = must(queue().claim());
  EXPECT_ANSWER(permission, claim.ack({.durability = kDurable}));
  EXPECT_OK(claim.ack()) << "the claim stood";
}

TEST_F(DurableTest, AnAckWhoseCommitFailsIsWrittenByTheNextCommit) {
  EXPECT_DURABLE(queue().push("item", {.durability = kDurable}));
  auto claim = must(queue().claim());
  tier->fail_commits(Code::full);
  EXPECT_IN_MEMORY(full, claim.ack({.durability = kDurable}));
  EXPECT_ANSWER(full, pond->flush());
  EXPECT_EQ(survivors(), (Survivors{"item@0"}));
  tier->fail_commits({});
  EXPECT_DURABLE(pond->flush());
  EXPECT_EQ(survivors(), Survivors{});
}

TEST_F(DurableTest, AFencedAckIsNotInTheJournal) {
  EXPECT_DURABLE(queue().push("item", {.durability = kDurable}));
  auto claim = must(queue().claim());
  ASSERT_OK(queue().configure({.lease = milliseconds(1)}));
  ASSERT_OK(claim.extend(milliseconds(1)));
  ASSERT_TRUE(eventually([&] { return queue().claim().ok(); }));
  EXPECT_ANSWER(fenced, claim.ack({.durability = kDurable}));
  EXPECT_DURABLE(pond->flush());
  EXPECT_EQ(survivors(), (Survivors{"item@0"}));
}

TEST_F(DurableTest, BehindAStoppedLeaderItIsInMemoryAndTheCauseIsTheTime) {
  Options options = small();
  options.durable_timeout = milliseconds(20);
  auto other = must(Attachment::join(*attachment));
  EXPECT_DURABLE(queue().push("first", {.durability = kDurable}));
  internal::CommitLock stopped;
  ASSERT_OK(stopped.try_take(*other->thread()));
  std::thread pusher([&] {
    auto waiting = must(Attachment::join(*attachment));
    internal::Post post;
    must(post.reserve(*waiting->thread(), internal::Post::bytes_for(4)));
    auto stream =
        must(internal::Directory(*waiting->thread()).find({internal::Kind::queue, "scope", "work", "", ""}));
    internal::Lane lane(*waiting->thread(), stream, 0);
    post.add({internal::journal_push(internal::TierSide::id_of(lane), ItemId{7}, 7, 0), stream},
             {"late", {}});
    post.publish();
    Status answer =
        internal::wait_for_posts(*waiting->thread(), {&post, 1}, internal::sys::precise_us() + 20'000);
    EXPECT_IN_MEMORY(timeout, answer);
  });
  pusher.join();
  EXPECT_IN_MEMORY(ok, queue().push("memory goes on"));
  stopped.release();
  EXPECT_DURABLE(queue().push("second", {.durability = kDurable}));
  EXPECT_EQ(survivors(), (Survivors{"first@0", "second@0"}));
}

TEST_F(DurableTest, WhenTooMuchWaitsForTheDiskNothingMoreIsTaken) {
  tier->fail_commits(Code::full);
  EXPECT_IN_MEMORY(full, queue().push("item", {.durability = kDurable}));
  Status last;
  std::uint64_t pushed = 1;
  while (pushed < 10'000 && last.ok()) {
    last = queue().push("item", {.durability = kPosted}).status();
    pushed += last.ok();
  }
  EXPECT_ANSWER(full, last);
  EXPECT_EQ(*queue().size(), pushed) << "nothing happened";
  EXPECT_OK(queue().push("memory goes on"));
  auto claim = must(queue().claim());
  EXPECT_IN_MEMORY(full, claim.ack()) << "of a durable item: the journal still has it";
  tier->fail_commits({});
  EXPECT_DURABLE(pond->flush());
  EXPECT_DURABLE(queue().push("again", {.durability = kDurable}));
}

// ------------------------------------------------------------------------------------------------------------------- kinds

TEST_F(DurableTest, ABatchIsOneCommit) {
  std::vector<std::string> texts;
  for (int i = 0; i < 20; i++) texts.push_back("item " + std::to_string(i));
  std::vector<Bytes> items(texts.begin(), texts.end());
  auto first = queue().push_many(items, {.durability = kDurable});
  EXPECT_DURABLE(first);
  EXPECT_EQ(tier->commits(), 1u);
  EXPECT_EQ(survivors().size(), 20u);
  EXPECT_DURABLE(log().append_many(items, {.durability = kDurable}));
  EXPECT_EQ(tier->commits(), 2u);
  auto claims = must(queue().claim_many(20));
  EXPECT_DURABLE(queue().ack_many(claims, {.durability = kDurable}));
  EXPECT_EQ(tier->commits(), 3u);
  EXPECT_EQ(survivors().size(), 20u) << "the log's";
}

TEST_F(DurableTest, WhatIsTooLargeToBePostedHasACommitOfItsOwn) {
  const std::string large = patterned(1, 100'000);
  EXPECT_DURABLE(queue().push(large, {.durability = kDurable}));
  EXPECT_EQ(survivors(), (Survivors{large + "@0"}));
  tier->fail_commits(Code::full);
  EXPECT_IN_MEMORY(full, queue().push(large, {.durability = kDurable}));
  tier->fail_commits({});
  EXPECT_EQ(*queue().size(), 2u);
  std::vector<std::string> texts(50, std::string(500, 'x'));
  std::vector<Bytes> items(texts.begin(), texts.end());
  EXPECT_DURABLE(queue().push_many(items, {.durability = kDurable}));
  EXPECT_EQ(survivors().size(), 51u);
  EXPECT_EQ(*queue().pop(), large);
  EXPECT_DURABLE(pond->flush());
  EXPECT_EQ(survivors().size(), 50u);
}

TEST_F(DurableTest, EveryEndOfADurableItemIsWritten) {
  for (const char* item : {"acked", "popped", "cancelled", "in a batch", "and this", "left"})
    EXPECT_DURABLE(queue().push(item, {.durability = kDurable}));
  EXPECT_OK(must(queue().claim()).ack());
  EXPECT_EQ(*queue().pop(), "popped");
  EXPECT_OK(queue().cancel(ItemId{3}));
  auto claims = must(queue().claim_many(2));
  EXPECT_EQ(queue().ack_many(claims), 2u);
  EXPECT_DURABLE(pond->flush());
  EXPECT_EQ(survivors(), (Survivors{"left@0"}));
  EXPECT_EQ(*queue().size(), 1u);
}

TEST_F(DurableTest, ADurableAckOfAnItemInMemoryIsWritten) {
  ASSERT_OK(queue().push("hot"));
  EXPECT_DURABLE(must(queue().claim()).ack({.durability = kDurable}));
  EXPECT_EQ(entries(), 1u);
}

// ------------------------------------------------------------------------------------------------------------------- moves

TEST_F(DurableTest, TheJournalFollowsAnItemThroughAllLanes) {
  EXPECT_DURABLE(queue().push("item", {.priority = 2, .durability = kDurable}));
  EXPECT_OK(must(queue().claim()).nack({.delay = milliseconds(1)}));
  EXPECT_DURABLE(pond->flush());
  EXPECT_EQ(survivors(), (Survivors{"item@8"}));
  auto claim = must(queue().claim(stretched(60s)));
  EXPECT_DURABLE(pond->flush());
  EXPECT_EQ(survivors(), (Survivors{"item@2"})) << "due, it went back";
  EXPECT_OK(claim.bury(""));
  EXPECT_DURABLE(pond->flush());
  EXPECT_EQ(survivors(), (Survivors{"item@9"}));
  EXPECT_EQ(*queue().redrive(), 1u);
  EXPECT_DURABLE(pond->flush());
  EXPECT_EQ(survivors(), (Survivors{"item@2"}));
  trim();
  EXPECT_EQ(entries(), 1u) << "only the last place stays";
  EXPECT_EQ(survivors(), (Survivors{"item@2"}));
  EXPECT_EQ(*queue().pop(), "item");
  EXPECT_DURABLE(pond->flush());
  EXPECT_EQ(survivors(), Survivors{}) << "one ack ends all places";
}

TEST_F(DurableTest, ADelayedItemIsWrittenWithItsTime) {
  auto id = queue().push("item", {.delay = std::chrono::hours(1), .priority = 5, .durability = kDurable});
  EXPECT_DURABLE(id);
  JournalEntry entry = tier->journal().at(0).at(0).view();
  internal::DelayedPrefix prefix;
  const std::string payload = tier->journal().at(0).at(0).payload;
  ASSERT_GE(payload.size(), sizeof prefix);
  std::memcpy(&prefix, payload.data(), sizeof prefix);
  EXPECT_EQ(prefix.priority, 5u);
  EXPECT_GT(prefix.due_ms, internal::sys::wall_ms() + 3'500'000);
  EXPECT_EQ(entry.stream & 15, 8u);
}

// ------------------------------------------------------------------------------------------------------------------- order

// P2: of one item the journal never has a push in a later row than its ack.
TEST_F(DurableTest, WhatIsPostedDuringACommitGoesIntoTheNextOne) {
  EXPECT_DURABLE(queue().push("first", {.durability = kDurable}));
  bool once = true;
  tier->before_commit = [&] {
    if (!std::exchange(once, false)) return;
    std::thread other([&] {  // while "second" is being committed it is pushed, and may be acked
      auto joined = join();
      auto items = must(queue().claim_many(2));
      EXPECT_EQ(items.size(), 2u);
      EXPECT_OK(items[1].ack({.durability = kPosted}));
      EXPECT_OK(items[0].nack());
    });
    other.join();
  };
  EXPECT_DURABLE(queue().push("second", {.durability = kDurable}));
  tier->before_commit = nullptr;
  EXPECT_EQ(survivors(), (Survivors{"first@0", "second@0"}));
  EXPECT_DURABLE(pond->flush());
  EXPECT_EQ(survivors(), (Survivors{"first@0"}));
  EXPECT_EQ(tier->journal().size(), 3u);
}

TEST_F(DurableTest, ManyWhoWaitShareACommit) {
  constexpr int kThreads = 8;
  EXPECT_DURABLE(queue().push("first", {.durability = kDurable}));
  internal::CommitLock lock;
  auto holder = must(Attachment::join(*attachment));
  ASSERT_OK(lock.try_take(*holder->thread()));
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; i++)
    threads.emplace_back([&] { EXPECT_DURABLE(queue().push("item", {.durability = kDurable})); });
  ASSERT_TRUE(eventually([&] { return internal::posts_waiting(*holder->thread()) >= kThreads; }));
  lock.release();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(survivors().size(), 1u + kThreads);
  EXPECT_EQ(tier->commits(), 2u);
}

// ----------------------------------------------------------------------------------------------------- flush, wait, default

TEST_F(DurableTest, PostedIsDurableAfterAFlushOrAWait) {
  auto first = must(queue().push("first", {.durability = kPosted}));
  auto seq = must(log().append("record", {.durability = kPosted}));
  EXPECT_EQ(entries(), 0u);
  EXPECT_DURABLE(log().wait_durable(seq));
  EXPECT_EQ(survivors(), (Survivors{"first@0", "record@0"}));
  EXPECT_DURABLE(queue().wait_durable(first));
  EXPECT_EQ(tier->commits(), 1u) << "nothing was left to do";
  EXPECT_OK(queue().push("second", {.durability = kPosted}));
  EXPECT_DURABLE(pond->flush());
  EXPECT_EQ(survivors(), (Survivors{"first@0", "record@0", "second@0"}));
  EXPECT_DURABLE(pond->flush());
}

TEST_F(DurableTest, AnEmptyPondFlushesWithoutATier) { EXPECT_DURABLE(pond->flush()); }

TEST_F(DurableTest, AScopesDefaultHoldsForOldHandlesAndNewQueues) {
  Queue old = queue("old");
  ASSERT_OK(old.push("hot"));
  ASSERT_OK(pond->scope("scope").configure({.durability = kDurable}));
  EXPECT_DURABLE(old.push("a"));
  EXPECT_DURABLE(queue("new").push("b"));
  EXPECT_DURABLE(log().append("c"));
  EXPECT_IN_MEMORY(ok, queue("new").push("asked otherwise", {.durability = kMemory}));
  EXPECT_IN_MEMORY(ok, pond->scope("another").queue("q").push("x"));
  EXPECT_DURABLE(must(old.claim()).ack());
  EXPECT_DURABLE(old.pop());
  EXPECT_EQ(survivors(), (Survivors{"b@0", "c@0"}));
  ASSERT_OK(pond->scope("scope").configure({}));
  EXPECT_IN_MEMORY(ok, old.push("hot again"));
  EXPECT_IN_MEMORY(ok, log().append("hot again"));
}

TEST_F(DurableTest, AScopesDefaultIsNoLimit) {
  ASSERT_OK(pond->scope("scope").configure({.max_items = 3, .durability = kPosted}));
  for (int i = 0; i < 3; i++) EXPECT_OK(queue().push("item"));
  EXPECT_ANSWER(full, queue().push("item"));
  ASSERT_OK(pond->scope("scope").configure({.durability = kPosted}));
  EXPECT_OK(queue().push("item"));
  EXPECT_ANSWER(invalid, pond->scope("scope").configure({.max_items = 1ULL << 62}));
}

// -------------------------------------------------------------------------------------------------------------------- trim

TEST_F(DurableTest, ATrimKeepsWhatLivesAndNothingElse) {
  for (int i = 0; i < 10; i++)
    EXPECT_DURABLE(queue().push("item " + std::to_string(i), {.durability = kDurable}));
  for (int i = 0; i < 8; i++) EXPECT_OK(queue().pop());
  EXPECT_DURABLE(pond->flush());
  EXPECT_EQ(survivors(), (Survivors{"item 8@0", "item 9@0"}));
  trim();
  EXPECT_EQ(survivors(), (Survivors{"item 8@0", "item 9@0"}));
  EXPECT_EQ(entries(), 2u);
  trim();
  EXPECT_EQ(entries(), 2u);
}

TEST_F(DurableTest, AnAckStaysWhileARowMayHoldItsItem) {
  for (int i = 0; i < 200; i++) ASSERT_OK(queue().push(std::string(100, 'x')));
  internal::Spilled out;
  ASSERT_OK(internal::spill_some(me(), 1 << 20, out));
  ASSERT_GT(tier->rows(), 0u);
  for (int i = 0; i < 150; i++) EXPECT_DURABLE(must(queue().claim()).ack({.durability = kDurable}));
  std::size_t acked = entries();
  EXPECT_EQ(acked, 150u);
  trim();
  EXPECT_EQ(entries(), acked) << "a power cut could bring back rows that hold these";
  pop_all(queue());
  ASSERT_OK(pond->reap());
  ASSERT_EQ(tier->rows(), 0u);
  trim();
  EXPECT_EQ(entries(), 0u);
}

TEST_F(DurableTest, ALogsTrimmedRecordsLeaveTheJournal) {
  for (int i = 0; i < 10; i++)
    EXPECT_DURABLE(log().append("record " + std::to_string(i), {.durability = kDurable}));
  EXPECT_EQ(*log().trim(9), 9u);
  trim();
  EXPECT_EQ(survivors(), (Survivors{"record 8@0", "record 9@0"}));
  EXPECT_EQ(entries(), 2u);
}

TEST_F(DurableTest, WhatIsClearedLeavesTheJournalAndThenItsNameGoes) {
  EXPECT_DURABLE(queue("a").push("gone", {.durability = kDurable}));
  EXPECT_DURABLE(queue("b").push("stays", {.durability = kDurable}));
  ASSERT_EQ(tier->declared(), 2u);
  EXPECT_EQ(*queue("a").clear(), 1u);
  EXPECT_EQ(tier->declared(), 2u) << "its name says that its entries are cleared";
  auto names = must(tier->streams(0));
  EXPECT_EQ(std::count_if(names.begin(), names.end(), [](auto& of) { return of.cleared_upto > 0; }), 1);
  trim();
  EXPECT_EQ(survivors(), (Survivors{"stays@0"}));
  EXPECT_EQ(tier->declared(), 1u);
}

TEST_F(DurableTest, TheJournalIsTrimmedAsItGrows) {
  for (int i = 0; i < 2000; i++) {
    EXPECT_DURABLE(queue().push("item", {.durability = kDurable}));
    EXPECT_OK(queue().pop());
  }
  EXPECT_LT(tier->journal().size(), 1100u);
  EXPECT_LE(survivors().size(), 1u);
}

// -------------------------------------------------------------------------------------------------------------- the queue J

TEST_F(DurableTest, ThePostingQueueIsNobodysStream) {
  Scope unnamed = pond->scope();
  EXPECT_DURABLE(unnamed.queue().push("item", {.durability = kDurable}));
  EXPECT_EQ(must(pond->stats()).details.size(), 1u);
  EXPECT_EQ(*unnamed.clear(), 1u);
  EXPECT_TRUE(clean(*pond));
  EXPECT_DURABLE(unnamed.queue().push("item", {.durability = kDurable}));
  for (int i = 0; i < 300; i++) EXPECT_OK(queue().push(std::string(200, 'x'), {.durability = kPosted}));
  internal::Spilled out;
  ASSERT_OK(internal::spill_some(me(), 1 << 20, out));
  EXPECT_DURABLE(pond->flush());
  EXPECT_EQ(survivors().size(), 302u) << "one of a stream that was cleared";
}

TEST_F(DurableTest, ItsPagesComeBack) {
  EXPECT_DURABLE(queue().push("item", {.durability = kDurable}));
  EXPECT_OK(queue().pop());
  EXPECT_DURABLE(pond->flush());
  std::uint64_t before = must(pond->stats()).page_bytes;
  for (int i = 0; i < 3000; i++) EXPECT_DURABLE(queue().push("item", {.durability = kDurable}));
  pop_all(queue());
  EXPECT_DURABLE(pond->flush());
  ASSERT_OK(pond->reap());
  EXPECT_LE(must(pond->stats()).page_bytes, before + 32 * 1024);
}

}  // namespace
