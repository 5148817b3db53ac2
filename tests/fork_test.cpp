// A process of a pond that forks: its child has no handles, and attaches anew.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/test_pond.h"

namespace {

using namespace headpond;
using namespace support;

using Strings = std::vector<std::string>;

// ------------------------------------------------------------------------------------------------- forks

TEST(Forks, TheChildsOldHandlesAnswerForked) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope("s").queue("q");
  Log log = pond.scope("s").log("l");
  must(log.append("r"));
  for (int i = 0; i < 3; ++i) must(queue.push(std::to_string(i)));
  Claim claim = must(queue.claim());
  Process child([&] {
    EXPECT_ANSWER(forked, queue.push("x"));
    EXPECT_ANSWER(forked, queue.push("x", {.delay = 1s}));
    EXPECT_ANSWER(forked, queue.claim());
    EXPECT_ANSWER(forked, queue.claim(1s));
    EXPECT_ANSWER(forked, queue.pop());
    EXPECT_ANSWER(forked, queue.size());
    EXPECT_ANSWER(forked, queue.stats());
    EXPECT_ANSWER(forked, queue.peek());
    EXPECT_ANSWER(forked, queue.clear());
    EXPECT_ANSWER(forked, queue.reserve(1));
    EXPECT_ANSWER(forked, queue.pause());
    EXPECT_ANSWER(forked, claim.ack());
    EXPECT_ANSWER(forked, claim.nack());
    EXPECT_ANSWER(forked, log.append("x"));
    EXPECT_ANSWER(forked, log.last_seq());
    EXPECT_ANSWER(forked, log.follow().next(1s));
    EXPECT_ANSWER(forked, pond.stats());
    EXPECT_ANSWER(forked, pond.verify());
    EXPECT_ANSWER(forked, pond.reap());
    EXPECT_ANSWER(forked, pond.scope("t").clear());
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_OK(claim.ack());
  EXPECT_EQ(pop_all(queue), (Strings{"1", "2"}));
  EXPECT_TRUE(clean(pond));
}

TEST(Forks, TheChildAttachesAnew) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope("s").queue("q");
  Claim held = [&] {
    must(queue.push("held"));
    return must(queue.claim());
  }();
  must(queue.push("for the child"));
  Process child([&] {
    Pond mine = test.open();
    EXPECT_EQ(must(mine.stats()).participants, 2u);
    EXPECT_EQ(shown(mine.scope("s").queue("q").pop()), "for the child");
    must(mine.scope("s").queue("q").push("from the child"));
    EXPECT_ANSWER(forked, queue.push("x"));
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(shown(queue.pop()), "from the child");
  EXPECT_OK(held.ack());
  EXPECT_TRUE(clean(pond));
}

TEST(Forks, DestructorsInTheChildDoNothing) {
  TestPond test;
  std::optional<Pond> pond = test.open();
  std::optional<Queue> queue = pond->scope("s").queue("q");
  must(queue->push("claimed"));
  std::optional<Claim> claim = must(queue->claim());
  std::optional<Reservation> reservation = must(queue->reserve(4));
  must(pond->scope("s").log("l").append("record"));
  std::optional<Scan> scan = pond->scope("s").log("l").scan();
  ASSERT_TRUE(scan->next());
  Process child([&] {
    claim.reset();
    reservation.reset();
    scan.reset();
    queue.reset();
    pond.reset();
    Pond mine = test.open();  // with the old one gone
    EXPECT_ANSWER(empty, mine.scope("s").queue("q").claim()) << "the parent's claim is still the parent's";
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(scan->record().payload, "record");
  std::memcpy(reservation->data().data(), "room", 4);
  reservation->commit();
  EXPECT_EQ(shown(queue->pop()), "room");
  EXPECT_OK(claim->ack());
  EXPECT_TRUE(clean(*pond));
}

TEST(Forks, AChildThatLivesOnDoesNotHideItsParentsDeath) {
  TestPond test;
  Shared<Event> forked, release;
  Queue queue = test.queue();
  must(queue.push("x"));
  Process parent([&] {
    Queue mine = test.queue();
    Claim claim = must(mine.claim());
    const pid_t grandchild = ::fork();
    if (grandchild == 0) {
      ::prctl(PR_SET_PDEATHSIG, 0);
      forked->raise();
      (void)release->wait(1, 120s);
      ::_exit(0);
    }
    pause_forever();
  });
  ASSERT_TRUE(forked->wait());
  EXPECT_ANSWER(empty, queue.claim());
  parent.kill();
  const auto start = Clock::now();
  const Result<Claim> again = queue.claim(stretched(60s));
  EXPECT_EQ(shown(again), "x");
  EXPECT_LT(since(start), stretched(10s)) << "much sooner than who waits gives up";
  release->raise();
}

TEST(Forks, AChildForkedByAThreadOfABusyProcessAttachesAnew) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope("s").queue("q");
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop) {
      must(queue.push("x"));
      must(queue.pop());
    }
  });
  for (int i = 0; i < 20; ++i) {
    Process child([&] {
      EXPECT_ANSWER(forked, queue.push("y"));
      Queue mine = test.queue("other");
      must(mine.push("mine"));
      EXPECT_EQ(shown(mine.pop()), "mine");
    });
    ASSERT_EQ(child.wait(), 0);
  }
  stop = true;
  busy.join();
  EXPECT_TRUE(clean(pond));
}

}  // namespace
