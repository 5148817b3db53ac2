// Streams that nobody uses leave the segment and come back as they were, with a durable tier in memory: order, ids, counts and governance; who keeps one
// from leaving; what a clear, a drop, a failing tier and a lack of memory make of it.
#include <gtest/gtest.h>
#include <signal.h>

#include <thread>

#include "src/attachment.h"
#include "src/directory.h"
#include "src/gc.h"
#include "src/leftovers.h"
#include "src/section.h"
#include "src/spill.h"
#include "src/tier_side.h"
#include "support/fake_tier_pond.h"
#include "support/process.h"

namespace {

using namespace support;
using namespace std::chrono_literals;

Options small() {
  Options options;
  options.limit_bytes = 1 << 20, options.max_page_bytes = 4096, options.full_timeout = milliseconds(0);
  return options;
}

class ParkTest : public FakeTierPond {
 protected:
  ParkTest() : FakeTierPond(small()) {}

  void push(std::uint64_t from, std::uint64_t to, PushOptions how = {}, Bytes name = "work") {
    Queue to_queue = queue(name);
    for (std::uint64_t n = from; n <= to; n++) EXPECT_OK(to_queue.push(patterned(n, 100), how));
  }
  /// Until the clock says that everything is idle for a millisecond.
  void rest() {
    std::uint64_t now = internal::sys::coarse_us();
    while (internal::sys::coarse_us() < now + 2000) std::this_thread::yield();
  }
  /// A mark of use becomes a time. Parks nothing, whatever time has passed.
  void note_use() { EXPECT_OK(pond->gc({.spill_idle = 1h})); }
  GcResult park() {
    note_use();
    rest();
    return must(pond->gc({.spill_idle = 1ms}));
  }
  GcResult drop() {
    note_use();
    rest();
    return must(pond->gc({.drop_idle = 1ms}));
  }
  std::uint64_t parked() { return must(pond->stats()).parked; }
  StreamInfo info(Bytes name = "work") { return info_of(*pond, name); }
};

TEST_F(ParkTest, AnIdleQueueLeavesTheSegmentAndComesBackInOrder) {
  push(1, 10);
  park();
  EXPECT_EQ(parked(), 1u);
  Stats stats = must(pond->stats());
  EXPECT_EQ(stats.page_bytes, 0u);
  EXPECT_GE(tier->rows(), 1u);
  EXPECT_EQ(info().queue.ready, 10u);
  EXPECT_EQ(info().queue.spilled, 10u);
  EXPECT_EQ(info().queue.pushed, 10u);
  EXPECT_TRUE(clean(*pond));
  EXPECT_EQ(parked(), 1u) << "a look woke it";
  push(11, 12);
  EXPECT_EQ(parked(), 0u);
  EXPECT_TRUE(clean(*pond));
  EXPECT_EQ(*queue().size(), 12u);
  EXPECT_EQ(popped(), numbers(1, 12));
  EXPECT_TRUE(clean(*pond));
}

TEST_F(ParkTest, IdsGoOnOverManyLives) {
  for (std::uint64_t life = 0; life < 5; life++) {
    auto id = queue().push(patterned(life * 3 + 1, 100));
    ASSERT_TRUE(id);
    EXPECT_EQ(id->seq(), life * 3 + 1);
    push(life * 3 + 2, life * 3 + 3);
    EXPECT_EQ(number_of(must(queue().pop())), life + 1);
    park();
    EXPECT_EQ(parked(), 1u);
    EXPECT_TRUE(clean(*pond));
  }
  EXPECT_EQ(popped(), numbers(6, 15));
  park();
  EXPECT_EQ(tier->rows(), 0u) << "rows of items that are done stayed";
  EXPECT_EQ(queue().push("next")->seq(), 16u);
  EXPECT_TRUE(clean(*pond));
}

TEST_F(ParkTest, AnEmptyQueueKeepsItsIdsWithoutATier) {
  push(1, 3);
  popped();
  park();
  EXPECT_EQ(parked(), 1u);
  EXPECT_EQ(tier->declared(), 0u);
  EXPECT_EQ(must(pond->stats()).page_bytes, 0u);
  EXPECT_EQ(queue().push("next")->seq(), 4u);
  EXPECT_TRUE(clean(*pond));
}

TEST_F(ParkTest, PrioritiesDeadLettersAndAttemptsComeBack) {
  push(1, 3);
  push(4, 6, {.priority = 5});
  push(7, 8, {.priority = 7});
  auto claim = must(queue().claim());
  EXPECT_OK(claim.bury("no use"));
  claim = must(queue().claim());
  EXPECT_OK(claim.nack());
  park();
  ASSERT_EQ(parked(), 1u);
  EXPECT_EQ(info().queue.ready, 7u);
  EXPECT_EQ(info().queue.dead, 1u);
  EXPECT_TRUE(clean(*pond));
  auto dead = must(queue().dead(10));
  ASSERT_EQ(dead.size(), 1u);
  EXPECT_EQ(number_of(dead[0].payload), 7u);
  EXPECT_EQ(dead[0].reason, "no use");
  claim = must(queue().claim());
  EXPECT_EQ(number_of(claim.payload()), 8u);
  EXPECT_EQ(claim.attempts(), 2u);
  EXPECT_OK(claim.ack());
  EXPECT_EQ(popped(), (std::vector<std::uint64_t>{4, 5, 6, 1, 2, 3}));
  EXPECT_EQ(*queue().redrive(), 1u);
  EXPECT_EQ(popped(), numbers(7, 7));
  EXPECT_TRUE(clean(*pond));
}

TEST_F(ParkTest, GovernanceSurvives) {
  QueueOptions how;
  how.lease = 5s, how.max_attempts = 7, how.max_items = 100, how.max_bytes = 1 << 16;
  EXPECT_OK(queue().configure(how));
  push(1, 2);
  EXPECT_OK(queue().pause());
  park();
  ASSERT_EQ(parked(), 1u);
  EXPECT_TRUE(info().queue.paused);
  QueueOptions now = must(queue().options());
  EXPECT_EQ(now.lease, how.lease);
  EXPECT_EQ(now.max_attempts, how.max_attempts);
  EXPECT_EQ(now.max_items, how.max_items);
  EXPECT_EQ(now.max_bytes, how.max_bytes);
  EXPECT_ANSWER(paused, queue().pop());
  EXPECT_OK(queue().resume());
  EXPECT_EQ(popped(), numbers(1, 2));
}

TEST_F(ParkTest, AScopesLimitsCountWhatIsParkedAndReachIt) {
  push(1, 5);
  park();
  ASSERT_EQ(parked(), 1u);
  EXPECT_OK(pond->scope("scope").configure({.max_items = 6}));
  EXPECT_EQ(parked(), 1u);
  EXPECT_OK(queue("other").push("sixth"));
  EXPECT_ANSWER(full, queue("other").push("seventh"));
  EXPECT_ANSWER(full, queue().push("seventh"));
  EXPECT_EQ(popped(), numbers(1, 5));
}

TEST_F(ParkTest, ALogComesBackWithItsSeqsAndItsTrim) {
  for (std::uint64_t n = 1; n <= 100; n++) EXPECT_OK(log().append(patterned(n, 100)));
  EXPECT_OK(log().trim(60));
  std::uint64_t trimmed = must(log().stats()).trimmed;
  park();
  ASSERT_EQ(parked(), 1u);
  EXPECT_EQ(must(pond->stats()).page_bytes, 0u);
  EXPECT_EQ(info("audit").log.last_seq, 100u);
  EXPECT_EQ(info("audit").log.trimmed, trimmed);
  auto records = read_all(log());
  ASSERT_EQ(records.size(), 101 - trimmed);
  EXPECT_EQ(records.front().first, trimmed);
  EXPECT_EQ(number_of(records.back().second), 100u);
  EXPECT_EQ(*log().append("next"), 101u);
  EXPECT_EQ(*log().last_seq(), 101u);
  EXPECT_TRUE(clean(*pond));
}

TEST_F(ParkTest, AScanGoesOnOverAPark) {
  for (std::uint64_t n = 1; n <= 50; n++) EXPECT_OK(log().append(patterned(n, 100)));
  Scan scan = log().scan();
  for (int i = 0; i < 20; i++) ASSERT_TRUE(scan.next());
  GcResult result = park();
  EXPECT_EQ(result.parked, 0u) << "a scan stands in it";
  { Scan done = std::move(scan); }
  park();
  EXPECT_EQ(parked(), 1u);
  EXPECT_EQ(read_all(log(), {.after = 20}).size(), 30u);
}

TEST_F(ParkTest, WhatIsInUseStays) {
  push(1, 3, {}, "claimed");
  push(1, 1, {.delay = 1h}, "delayed");
  push(1, 1, {}, "reserved");
  auto claim = must(queue("claimed").claim());
  auto reservation = must(queue("reserved").reserve(10));
  GcResult result = park();
  EXPECT_EQ(result.parked, 0u);
  EXPECT_EQ(result.busy, 3u);
  EXPECT_EQ(parked(), 0u);
  EXPECT_TRUE(clean(*pond));
  EXPECT_OK(claim.ack());
  reservation.commit();
  park();
  EXPECT_EQ(parked(), 2u);
  EXPECT_EQ(popped("claimed"), numbers(2, 3));
  EXPECT_EQ(pop_all(queue("reserved")).size(), 2u);
}

TEST_F(ParkTest, PopsAndReadsAreUse) {
  push(1, 10);
  Queue bound = queue();
  EXPECT_OK(bound.pop());
  for (int n = 0; n < 3; n++) {
    note_use();
    rest();
    EXPECT_OK(bound.pop());  // leaves a mark, of which the gc makes a time: its own
    GcResult result = must(pond->gc({.spill_idle = 1ms}));
    EXPECT_EQ(result.parked + result.busy, 0u) << "it was popped from just now";
  }
  rest();
  EXPECT_EQ(must(pond->gc({.spill_idle = 1ms})).parked, 1u);
}

TEST_F(ParkTest, WhatIsSpilledStaysWhereItIs) {
  push(1, 3000);
  internal::Spilled out;
  EXPECT_OK(internal::spill_some(*attachment->thread(), 100'000, out));
  ASSERT_GT(out.pages, 5u);
  for (std::uint64_t n = 1; n <= 40; n++) EXPECT_EQ(number_of(must(queue().pop())), n);
  park();
  ASSERT_EQ(parked(), 1u);
  EXPECT_EQ(info().queue.ready, 2960u);
  EXPECT_TRUE(clean(*pond));
  for (std::uint64_t n = 41; n <= 1500; n++) ASSERT_EQ(number_of(must(queue().pop())), n);
  EXPECT_TRUE(clean(*pond));
  park();
  EXPECT_TRUE(clean(*pond));
  push(3001, 3100);
  EXPECT_EQ(popped(), numbers(1501, 3100));
  EXPECT_TRUE(clean(*pond));
}

TEST_F(ParkTest, ASearchByIdFindsWhatIsParked) {
  push(1, 50);
  auto items = must(queue().peek(50));
  park();
  EXPECT_OK(queue().cancel(items[29].id));
  EXPECT_ANSWER(not_found, queue().cancel(items[29].id));
  EXPECT_EQ(must(queue().peek(50)).size(), 49u);
  auto expected = numbers(1, 50);
  expected.erase(expected.begin() + 29);
  EXPECT_EQ(popped(), expected);
}

TEST_F(ParkTest, LooksPassOverIdsThatWereDoneWhenItLeft) {
  push(1, 100);
  auto claims = must(queue().claim_many(100));
  ItemId gone = claims[79].id();
  for (std::size_t n = 10; n < 100; n++) EXPECT_OK(claims[n].ack());
  for (std::size_t n = 0; n < 10; n++) EXPECT_OK(claims[n].nack());
  claims.clear();
  park();
  ASSERT_EQ(parked(), 1u);
  EXPECT_EQ(must(queue().peek(50)).size(), 10u);
  EXPECT_ANSWER(not_found, queue().cancel(gone));
  EXPECT_TRUE(clean(*pond));
  EXPECT_EQ(popped(), numbers(1, 10));
  EXPECT_TRUE(clean(*pond));
}

// -------------------------------------------------------------------------------------------------------------------- clear

TEST_F(ParkTest, ClearTakesWhatIsParked) {
  push(1, 50);
  EXPECT_OK(queue().configure({.max_attempts = 3}));
  park();
  ASSERT_EQ(parked(), 1u);
  EXPECT_EQ(*queue().clear(), 50u);
  EXPECT_EQ(tier->rows(), 0u);
  EXPECT_EQ(tier->declared(), 0u);
  EXPECT_ANSWER(empty, queue().pop());
  EXPECT_EQ(must(queue().options()).max_attempts, 3u);
  EXPECT_EQ(queue().push("next")->seq(), 51u);
  EXPECT_TRUE(clean(*pond));
}

TEST_F(ParkTest, AScopesClearTakesWhatIsParkedAndTheName) {
  push(1, 50);
  push(1, 7, {}, "other");
  for (int n = 0; n < 9; n++) EXPECT_OK(log().append("record"));
  park();
  ASSERT_EQ(parked(), 3u);
  EXPECT_EQ(*pond->scope("scope").clear(), 66u);
  EXPECT_EQ(must(pond->stats()).streams, 0u);
  EXPECT_EQ(tier->rows(), 0u);
  EXPECT_EQ(tier->declared(), 0u);
  EXPECT_GE(queue().push("next")->seq(), 51u);
  EXPECT_GE(*log().append("next"), 10u);
  EXPECT_TRUE(clean(*pond));
}

TEST_F(ParkTest, AClearThatTheTierCannotWriteAnswersSoAndClearsNothing) {
  push(1, 50);
  park();
  tier->fail_erasing(Status(Code::system, "the disk is broken", 5));
  EXPECT_ANSWER(system, pond->scope("scope").clear());
  EXPECT_EQ(parked(), 1u);
  tier->fail_erasing({});
  EXPECT_EQ(popped(), numbers(1, 50));
}

// --------------------------------------------------------------------------------------------------------------------- drop

TEST_F(ParkTest, WhatIsIdleLongerIsDroppedParkedOrNot) {
  push(1, 10, {}, "parked");
  park();
  push(1, 20, {}, "hot");
  for (int n = 0; n < 5; n++) EXPECT_OK(log().append("record"));
  EXPECT_OK(log().commit("reader", 3));
  GcResult result = drop();
  EXPECT_EQ(result.dropped, 3u);
  EXPECT_EQ(result.dropped_items, 35u);
  EXPECT_EQ(must(pond->stats()).streams, 0u);
  EXPECT_EQ(tier->rows(), 0u);
  EXPECT_EQ(tier->declared(), 0u);
  EXPECT_EQ(must(log().committed("reader")), 0u);
  EXPECT_EQ(must(pond->stats()).page_bytes, 0u);
  EXPECT_GE(queue("parked").push("next")->seq(), 11u);
  EXPECT_TRUE(clean(*pond));
}

TEST_F(ParkTest, WhatWasUsedSinceIsNotDropped) {
  // Once the clock, which ticks in steps of some ms, has stood still between the use and the gc.
  ASSERT_TRUE(eventually([&] {
    popped();
    push(1, 10);
    park();
    rest();
    const std::uint64_t used = internal::sys::coarse_us();
    EXPECT_OK(queue().size());
    GcResult result = must(pond->gc({.drop_idle = 1ms}));
    if (internal::sys::coarse_us() != used) return false;
    EXPECT_EQ(result.dropped, 0u);
    return true;
  }));
  EXPECT_EQ(popped(), numbers(1, 10));
}

TEST_F(ParkTest, AClearThatFindsNoRoomForASuccessorLeavesNoSettings) {
  attachment->segment().header().tier_store.store(1);  // there is a tier for settings, too
  push(1, 3);
  EXPECT_OK(queue().pause());
  auto saved = [&] { return must(tier->settings(internal::sys::precise_us())).size(); };
  EXPECT_EQ(saved(), 1u);
  internal::Directory directory(*attachment->thread());
  using Key = internal::Key;
  Status made;
  for (int n = 0; made.ok(); n++)
    made = directory.find_or_create(Key{internal::Kind::queue, "others", std::to_string(n), {}, {}}).status();
  EXPECT_ANSWER(full, made);
  EXPECT_EQ(must(queue().clear()), 3u);
  EXPECT_ANSWER(not_found, directory.find(Key{internal::Kind::queue, "scope", "work", {}, {}}));
  EXPECT_EQ(saved(), 0u);
  EXPECT_TRUE(clean(*pond));
  EXPECT_OK(pond->scope("others").clear());
  push(4, 4);
  EXPECT_EQ(popped(), numbers(4, 4));
}

class DyingGc : public ParkTest {
 protected:
  /// Idle logs with cursors, and a gc that drops them and is killed in the commit in which their rows go.
  void SetUp() override {
    attachment->segment().header().tier_store.store(1);  // there is a tier for settings, too
    for (const char* name : {"audit", "other"}) {
      for (int n = 1; n <= 3; n++) EXPECT_OK(log(name).append("record"));
      EXPECT_OK(log(name).commit("reader", 2, Durability::durable));
    }
    park();
    rest();
    Process collector([&] {
      auto mine = must(internal::Attachment::open(test.name(), test.options(), true));
      tier->before_commit = [] { ::raise(SIGKILL); };
      mine->tier_side().use(tier);
      (void)internal::collect_idle(*mine->thread(), {.drop_idle = 1ms});
    });
    ASSERT_EQ(collector.wait(), 128 + SIGKILL);
    EXPECT_OK(pond->reap());
  }
  std::size_t saved() { return must(tier->settings(internal::sys::precise_us())).size(); }
};

TEST_F(DyingGc, LeavesNoCursorThatTheNextOneDoesNotFind) {
  GcResult result = must(pond->gc({.drop_idle = 1ms}));
  EXPECT_EQ(result.dropped, 2u);
  EXPECT_EQ(must(pond->scope("scope").streams()).size(), 0u);
  EXPECT_EQ(saved(), 0u);
  EXPECT_TRUE(clean(*pond));
}

TEST_F(DyingGc, LeavesTheCursorsToALogThatIsUsedAgain) {
  EXPECT_OK(log().append("of another life"));
  EXPECT_EQ(must(log().committed("reader")), 2u);
  EXPECT_EQ(must(pond->gc({.drop_idle = 1h})).dropped, 0u);
  EXPECT_OK(pond->flush());
  EXPECT_EQ(must(log().committed("reader")), 2u);
  EXPECT_EQ(saved(), 2u);
  EXPECT_EQ(drop().dropped, 2u);
  EXPECT_EQ(saved(), 0u);
  EXPECT_TRUE(clean(*pond));
}

// ------------------------------------------------------------------------------------------------------------------- faults

TEST_F(ParkTest, AFailingTierLosesNothing) {
  push(1, 50);
  tier->fail_stores(Status(Code::full, "no room on the disk", 28));
  rest();
  EXPECT_ANSWER(full, pond->gc({.spill_idle = 1ms}));
  EXPECT_EQ(parked(), 0u);
  EXPECT_TRUE(clean(*pond));
  EXPECT_EQ(*queue().size(), 50u);
  tier->fail_stores({});
  park();
  ASSERT_EQ(parked(), 1u);
  tier->fail_loads(Status(Code::system, "the disk is broken", 5));
  EXPECT_ANSWER(system, queue().pop());
  tier->fail_loads({});
  EXPECT_EQ(popped(), numbers(1, 50));
}

TEST_F(ParkTest, ALostRowIsSaidAndNotPassedOver) {
  push(1, 50);
  park();
  tier->with_rows([](auto& rows) { rows.clear(); });
  EXPECT_ANSWER(corruption, queue().pop());
  EXPECT_ANSWER(corruption, queue().pop());
}

TEST_F(ParkTest, AHeldDirectoryIsATimeoutAndNothingStaysMarked) {
  for (int n = 0; n < 100; n++) push(1, 1, {}, "work" + std::to_string(n));
  rest();
  Shared<Event> held, over;
  auto other = join();
  std::thread holder([&] {
    auto section = internal::Section::enter(*other->thread(), internal::kDirectorySection);
    held->raise();
    (void)over->wait();
    section->leave();
  });
  EXPECT_TRUE(held->wait());
  EXPECT_ANSWER(timeout, pond->gc({.spill_idle = 1ms}));
  over->raise();
  holder.join();
  park();
  EXPECT_EQ(parked(), 100u);
  EXPECT_TRUE(clean(*pond));
}

TEST_F(ParkTest, AStreamThatIsUsedOrClearedWhileItsRowsAreCommittedStays) {
  push(1, 50);
  rest();
  tier->before_store = [&] { push(51, 52); };
  GcResult result = must(pond->gc({.spill_idle = 1ms}));
  EXPECT_EQ(result.parked, 0u);
  EXPECT_EQ(result.busy, 1u);
  EXPECT_TRUE(clean(*pond));
  rest();
  tier->before_store = [&] { EXPECT_EQ(number_of(must(queue().pop())), 1u); };
  EXPECT_EQ(must(pond->gc({.spill_idle = 1ms})).parked, 0u);
  EXPECT_EQ(popped(), numbers(2, 52));
  push(53, 99);
  note_use();
  rest();
  tier->before_store = [&] { EXPECT_EQ(*queue().clear(), 47u); };
  EXPECT_EQ(must(pond->gc({.spill_idle = 1ms})).parked, 0u);
  EXPECT_ANSWER(empty, queue().pop());
  EXPECT_EQ(tier->rows(), 0u);
  EXPECT_TRUE(clean(*pond));
}

TEST_F(ParkTest, ASweepOfLeftoversKeepsTheRowsOfParkedStreams) {
  push(1, 50);
  park();
  EXPECT_EQ(*internal::erase_leftovers(*attachment->thread()), 0u);
  EXPECT_EQ(popped(), numbers(1, 50));
}

TEST_F(ParkTest, ADurableItemIsWrittenBeforeItsStreamLeaves) {
  push(1, 5, {.durability = Durability::posted});
  EXPECT_EQ(tier->commits(), 0u);
  park();
  EXPECT_EQ(parked(), 1u);
  EXPECT_EQ(tier->commits(), 1u);
  EXPECT_EQ(popped(), numbers(1, 5));
  EXPECT_OK(pond->flush());
  EXPECT_TRUE(clean(*pond));
}

// ------------------------------------------------------------------------------------------------------------------- memory

TEST_F(ParkTest, ManyScopesFitBecauseTheLongestIdleLeave) {
  constexpr std::uint64_t kScopes = 2600;  // of a page each: more than twice what fits
  for (std::uint64_t scope = 0; scope < kScopes; scope++)
    for (std::uint64_t n = 0; n < 3; n++)
      ASSERT_TRUE(
          answers(Code::ok, pond->scope(std::to_string(scope))
                                .queue("q")
                                .push(patterned(scope * 3 + n, 30), {.full_timeout = stretched(60s)})))
          << scope;
  EXPECT_GT(parked(), kScopes / 2);
  EXPECT_TRUE(clean(*pond));
  for (std::uint64_t i = 0; i < kScopes; i++) {
    std::uint64_t scope = i * 7 % kScopes;
    for (std::uint64_t n = 0; n < 3; n++)
      ASSERT_EQ(number_of(must(pond->scope(std::to_string(scope)).queue("q").pop())), scope * 3 + n);
  }
  EXPECT_TRUE(clean(*pond));
}

}  // namespace
