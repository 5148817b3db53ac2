// Opening, attaching, looking at and removing a pond.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "src/layout.h"
#include "support/test_pond.h"

namespace {

using namespace headpond;
using namespace support;
using nlohmann::json;
namespace fs = std::filesystem;

using Strings = std::vector<std::string>;

// ------------------------------------------------------------------------------------------------- open, attach, remove

TEST(Opening, CreatesThePondOrAttachesToIt) {
  TestPond test;
  EXPECT_ANSWER(not_found, Pond::open_existing(test.name()));
  EXPECT_FALSE(test.exists());
  Pond created = must(Pond::open(test.name()));
  EXPECT_TRUE(test.exists());
  EXPECT_EQ(created.name(), test.name());
  must(created.scope("s").queue("q").push("x"));
  Pond attached = must(Pond::open_existing(test.name()));
  EXPECT_EQ(shown(attached.scope("s").queue("q").pop()), "x");
}

TEST(Opening, PondsOfANameInOneProcessShareOneAttachment) {
  TestPond test;
  Pond first = test.open();
  Pond second = test.open();
  const Stats stats = must(first.stats());
  EXPECT_EQ(stats.participants, 1u);
  ASSERT_EQ(stats.workers.size(), 1u);
  EXPECT_EQ(stats.workers[0].pid, ::getpid());
  EXPECT_TRUE(stats.workers[0].alive);
  EXPECT_EQ(mappings_of("headpond."), mappings_of(test.name()));
}

TEST(Opening, WhatIsInAPondStaysWhenNobodyIsAttached) {
  TestPond test;
  must(test.queue().push("kept"));
  must(test.log().append("kept"));
  EXPECT_EQ(mappings_of(test.name()), 0u);
  EXPECT_EQ(shown(test.queue().pop()), "kept");
  EXPECT_EQ(read_all(test.log()).size(), 1u);
  EXPECT_TRUE(clean(test));
}

TEST(Opening, NamesHave1To128HarmlessCharacters) {
  TestHome home;
  for (const std::string& name :
       {std::string(), std::string(".hidden"), std::string("a/b"), std::string(".."), std::string("a b"),
        std::string("a\0b", 3), std::string("\xc3\xa4"), std::string(129, 'a'), std::string("a\n")}) {
    EXPECT_ANSWER(invalid, Pond::open(name)) << name;
    EXPECT_ANSWER(invalid, Pond::open_existing(name)) << name;
    EXPECT_ANSWER(invalid, Pond::remove(name)) << name;
  }
  const std::string longest = "longest-" + std::to_string(::getpid()) + "-" + std::string(100, 'n');
  for (const std::string& name :
       {(longest + std::string(28, '_')).substr(0, 128), "A.b_c-" + std::to_string(::getpid())}) {
    EXPECT_OK(Pond::open(name)) << name;
    EXPECT_OK(Pond::remove(name)) << name;
  }
}

TEST(Opening, OptionsOutOfRangeAreInvalid) {
  TestPond test;
  const std::vector<Options> bad = {
      {.limit_bytes = 0},
      {.limit_bytes = (1 << 20) - 1},
      {.limit_bytes = (1 << 20) + 1},
      {.limit_bytes = (64ULL << 30) + (1 << 20)},
      {.max_participants = 0},
      {.max_participants = 4096},
      {.min_page_bytes = 512},
      {.min_page_bytes = 3000},
      {.max_page_bytes = 131'072},
      {.min_page_bytes = 8192, .max_page_bytes = 4096},
      {.queue = {.lease = -1ms}},
      {.queue = {.lease = 24h * 31}},
      {.queue = {.max_attempts = 65'536}},
      {.spin = std::chrono::microseconds(-1)},
      {.spin = 11ms},
      {.full_timeout = -1ms},
  };
  for (std::size_t i = 0; i < bad.size(); ++i)
    EXPECT_ANSWER(invalid, Pond::open(test.name(), bad[i])) << "options " << i;
  EXPECT_FALSE(test.exists());
}

TEST(Opening, WhatTheCreatorFixedCannotBeAskedForDifferently) {
  TestPond test;
  const Options fixed = {
      .limit_bytes = 8 << 20, .max_participants = 100, .min_page_bytes = 2048, .max_page_bytes = 16'384};
  Pond pond = must(Pond::open(test.name(), fixed));
  const std::vector<Options> different = {{.limit_bytes = 9 << 20},
                                          {.max_participants = 99},
                                          {.min_page_bytes = 1024},
                                          {.max_page_bytes = 32'768}};
  for (const Options& options : different) {
    const auto result = Pond::open(test.name(), options);
    EXPECT_ANSWER(exists, result);
    EXPECT_NE(result.status().text().find(test.name()), std::string::npos) << result.status().text();
    EXPECT_ANSWER(exists, Pond::open_existing(test.name(), options));
  }
  EXPECT_OK(Pond::open(test.name(), fixed));
  EXPECT_OK(Pond::open(test.name()));
  EXPECT_OK(Pond::open(test.name(), {.limit_bytes = 8 << 20}));
  const Stats stats = must(pond.stats());
  EXPECT_EQ(stats.limit_bytes, 8u << 20);
  EXPECT_EQ(stats.max_participants, 100u);
}

TEST(Opening, AnotherProcessIsToldTheSame) {
  TestPond test;
  Pond pond = must(Pond::open(test.name(), {.limit_bytes = 8 << 20}));
  Process other([&] {
    EXPECT_ANSWER(exists, Pond::open(test.name(), {.limit_bytes = 16 << 20}));
    EXPECT_OK(Pond::open(test.name(), {.limit_bytes = 8 << 20}));
    EXPECT_OK(Pond::open(test.name()));
  });
  EXPECT_EQ(other.wait(), 0);
}

TEST(Opening, DefaultsAreAsDocumented) {
  TestPond test;
  const Stats stats = must(test.open().stats());
  EXPECT_EQ(stats.limit_bytes, 256u << 20);
  EXPECT_GE(stats.max_participants, 4000u);
}

TEST(Opening, EveryPageGeometryWorks) {
  for (const auto& [smallest, largest] : std::vector<std::pair<std::uint32_t, std::uint32_t>>{
           {1024, 1024}, {1024, 65'536}, {65'536, 65'536}, {4096, 8192}}) {
    TestPond test({.limit_bytes = 16 << 20, .min_page_bytes = smallest, .max_page_bytes = largest});
    Pond pond = test.open();
    Queue queue = pond.scope("s").queue("q");
    for (std::uint64_t i = 0; i < 3000; ++i) must(queue.push(patterned(i, 8 + i % 700)));
    for (std::uint64_t i = 0; i < 3000; ++i)
      ASSERT_EQ(number_of(must(queue.pop())), i) << smallest << " to " << largest;
    EXPECT_TRUE(clean(pond));
  }
}

TEST(Opening, TheStateHomeMayBeChosen) {
  TestPond test;
  const fs::path elsewhere = test.home() / "deep" / "er";
  {
    Pond pond = must(Pond::open(test.name(), {.state_home = elsewhere}));
    EXPECT_TRUE(fs::is_directory(elsewhere / test.name()));
    EXPECT_FALSE(fs::exists(test.folder()));
  }
  EXPECT_OK(Pond::remove(test.name(), {.state_home = elsewhere}));
  EXPECT_FALSE(fs::exists(elsewhere / test.name()));
}

TEST(Opening, AnotherStateFolderThanTheCreatorsIsRefused) {
  TestPond test;
  Pond pond = test.open();
  Process other([&] {
    const auto result = Pond::open(test.name(), {.state_home = test.home() / "other"});
    EXPECT_FALSE(result.ok());
    EXPECT_ANSWER(unsupported, result);
  });
  EXPECT_EQ(other.wait(), 0);
}

TEST(Opening, SaysItsVersion) {
  EXPECT_STREQ(version(), "0.1.0");
  EXPECT_EQ(layout_version(), internal::kLayoutVersion);
}

TEST(Removing, TakesTheNameAtOnceAndTellsWhoIsAttached) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope("s").queue("q");
  Log log = pond.scope("s").log("l");
  must(queue.push("1"));
  must(queue.push("2"));
  must(log.append("r"));
  {
    Claim claim = must(queue.claim());
    EXPECT_OK(Pond::remove(test.name()));
    EXPECT_FALSE(test.exists());
    EXPECT_FALSE(fs::exists(test.folder()));
    EXPECT_EQ(claim.payload(), "1") << "what is mapped stays readable";
    EXPECT_ANSWER(removed, claim.ack());
  }
  EXPECT_ANSWER(removed, queue.push("3"));
  EXPECT_ANSWER(removed, queue.claim());
  EXPECT_ANSWER(removed, queue.claim(100ms));
  EXPECT_ANSWER(removed, queue.size());
  EXPECT_ANSWER(removed, queue.clear());
  EXPECT_ANSWER(removed, log.append("r"));
  EXPECT_ANSWER(removed, log.follow().next(100ms));
  EXPECT_ANSWER(removed, log.scan().status().ok() ? Status(log.last_seq().status()) : Status(Code::removed));
  EXPECT_ANSWER(removed, pond.stats());
  EXPECT_ANSWER(not_found, Pond::remove(test.name()));
}

TEST(Removing, TheNameMayBeUsedAgainWhileOthersAreStillAttached) {
  TestPond test;
  Shared<Event> attached, renewed;
  Process old([&] {
    Pond pond = test.open();
    must(pond.scope().queue().push("old"));
    attached->raise();
    renewed->await();
    EXPECT_ANSWER(removed, pond.scope().queue().push("old"));
  });
  ASSERT_TRUE(attached->wait());
  EXPECT_OK(Pond::remove(test.name()));
  Pond pond = test.open();
  EXPECT_ANSWER(empty, pond.scope().queue().claim());
  must(pond.scope().queue().push("new"));
  renewed->raise();
  EXPECT_EQ(old.wait(), 0);
  EXPECT_EQ(pop_all(pond.scope().queue()), (Strings{"new"}));
}

TEST(Removing, AProcessThatWasAttachedMayOpenTheNewOne) {
  TestPond test;
  Pond old = test.open();
  must(old.scope().queue().push("old"));
  EXPECT_OK(Pond::remove(test.name()));
  Pond renewed = test.open();
  EXPECT_ANSWER(empty, renewed.scope().queue().claim());
  must(renewed.scope().queue().push("new"));
  EXPECT_ANSWER(removed, old.scope().queue().push("x"));
  EXPECT_EQ(shown(renewed.scope().queue().pop()), "new");
}

TEST(Removing, WakesWhoWaits) {
  TestPond test;
  Shared<Event> about;
  Process waiter([&] {
    Queue queue = test.queue();
    must(queue.push("x"));
    must(queue.pop());
    about->raise();
    EXPECT_ANSWER(removed, queue.claim(stretched(60s)));
  });
  ASSERT_TRUE(about->wait());
  ASSERT_TRUE(asleep(waiter.pid()));
  const auto start = Clock::now();
  EXPECT_OK(Pond::remove(test.name()));
  EXPECT_EQ(waiter.wait(), 0);
  EXPECT_LT(since(start), stretched(10s)) << "much sooner than who waits gives up";
}

TEST(Removing, OfNothingIsNotFound) {
  TestPond test;
  EXPECT_ANSWER(not_found, Pond::remove(test.name()));
}

// ------------------------------------------------------------------------------------------------- what it leaves and takes

TEST(Resources, OpeningAndClosingLeaksNothing) {
  TestPond test;
  test.open();
  const std::size_t descriptors = open_descriptors();
  for (int i = 0; i < 100; ++i) {
    Pond pond = test.open();
    must(pond.scope("s").queue("q").push("x"));
    must(pond.scope("s").queue("q").pop());
    Scan scan = pond.scope("s").log("l").scan();
    scan.next();
  }
  EXPECT_EQ(open_descriptors(), descriptors);
  EXPECT_EQ(mappings_of("headpond."), 0u);
  EXPECT_EQ(shared_memory_names(test.name()).size(), 1u);
  EXPECT_EQ(must(test.open().stats()).participants, 1u);
}

TEST(Resources, AMaintenanceThreadEndsWithItsPond) {
  TestPond test;
  test.open();
  const auto threads = [] {
    return std::distance(fs::directory_iterator("/proc/self/task"), fs::directory_iterator());
  };
  const auto before = threads();
  const std::size_t descriptors = open_descriptors();
  for (int i = 0; i < 5; ++i) {
    Pond pond = must(Pond::open(test.name(), {.maintenance = true}));
    must(pond.scope().queue().push("x"));
  }
  EXPECT_TRUE(eventually([&] { return threads() == before; }));
  EXPECT_EQ(open_descriptors(), descriptors);
}

TEST(Resources, ThreadsComeAndGo) {
  TestPond test({.limit_bytes = 4 << 20});
  Pond pond = test.open();
  Queue queue = pond.scope("s").queue("q");
  for (int i = 0; i < 300; ++i) {
    std::thread([&] {
      must(queue.push("x"));
      EXPECT_EQ(shown(queue.pop()), "x");
    }).join();
  }
  EXPECT_TRUE(clean(pond));
}

TEST(Resources, TheSegmentAndTheFolderAreTheOwnersOnly) {
  const mode_t mask = ::umask(0);
  TestPond test;
  Pond pond = test.open();
  ::umask(mask);
  struct stat segment, folder, lock;
  ASSERT_EQ(::lstat(test.segment_path().c_str(), &segment), 0);
  EXPECT_EQ(segment.st_mode, S_IFREG | 0600u);
  EXPECT_EQ(segment.st_uid, ::getuid());
  EXPECT_EQ(segment.st_nlink, 1u);
  ASSERT_EQ(::lstat(test.folder().c_str(), &folder), 0);
  EXPECT_EQ(folder.st_mode, S_IFDIR | 0700u);
  for (const auto& entry : fs::directory_iterator(test.folder())) {
    ASSERT_EQ(::lstat(entry.path().c_str(), &lock), 0);
    EXPECT_EQ(lock.st_mode & 077, 0u) << entry.path();
  }
}

TEST(Resources, AnEmptyPondTakesLittleMemory) {
  TestPond test;
  Pond pond = test.open();
  EXPECT_LE(must(pond.stats()).segment_bytes, 1u << 20);
  EXPECT_EQ(must(pond.stats()).page_bytes, 0u);
}

TEST(Resources, AFullSharedMemoryFileSystemIsFullAndNoBusError) {
  TestPond test({.on_full = OnFull::fail});
  Process limited([&] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("none", "/dev/shm", "tmpfs", 0, "size=4m") != 0) {
      return 77;
    }
    Pond pond = test.open();
    Queue queue = pond.scope("s").queue("q");
    std::uint64_t pushed = 0;
    for (;; ++pushed) {
      const Result<ItemId> id = queue.push(patterned(pushed, 1000));
      if (id) continue;
      EXPECT_ANSWER(full, id);
      break;
    }
    EXPECT_GT(pushed, 1500u);
    EXPECT_LT(pushed, 4200u);
    EXPECT_ANSWER(full, queue.push(std::string(8 << 20, 'x')));
    for (std::uint64_t i = 0; i < pushed; ++i) EXPECT_EQ(number_of(must(queue.pop())), i);
    EXPECT_OK(queue.push("room again"));
    EXPECT_TRUE(clean(pond));
    return 0;
  });
  const int code = limited.wait();
  if (code == 77) GTEST_SKIP() << "needs the right to mount";
  EXPECT_EQ(code, 0);
}

TEST(Resources, NoRoomForEvenTheTablesIsFull) {
  TestPond test;
  Process limited([&] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("none", "/dev/shm", "tmpfs", 0, "size=16k") != 0) {
      return 77;
    }
    const auto result = Pond::open(test.name());
    EXPECT_ANSWER(full, result);
    EXPECT_NE(result.status().text().find("/dev/shm"), std::string::npos) << result.status().text();
    EXPECT_TRUE(shared_memory_names(test.name()).empty());
    return 0;
  });
  const int code = limited.wait();
  if (code == 77) GTEST_SKIP() << "needs the right to mount";
  EXPECT_EQ(code, 0);
}

// ------------------------------------------------------------------------------------------------- participants

TEST(Participants, AFullTableIsFullUntilOneLeavesOrDies) {
  TestPond test({.max_participants = 2});
  Shared<Event> attached, leave;
  Pond pond = test.open();
  Process second([&] {
    Pond mine = test.open();
    attached->raise();
    leave->await();
  });
  ASSERT_TRUE(attached->wait());
  const auto third = [&](Code expected) {
    return Process([&, expected] { EXPECT_EQ(Pond::open(test.name()).code(), expected); }).wait();
  };
  EXPECT_EQ(third(Code::full), 0);
  leave->raise();
  EXPECT_EQ(second.wait(), 0);
  EXPECT_EQ(third(Code::ok), 0);
  Process doomed([&] {
    Pond mine = test.open();
    attached->raise();
    pause_forever();
  });
  ASSERT_TRUE(attached->wait(2));
  EXPECT_EQ(third(Code::full), 0);
  doomed.kill();
  EXPECT_EQ(third(Code::ok), 0) << "a dead participant's place is free at once";
  EXPECT_TRUE(clean(pond));
}

TEST(Participants, StatsListThemWithTheirClaims) {
  TestPond test;
  Shared<Event> claimed, leave;
  Queue queue = test.queue();
  for (int i = 0; i < 5; ++i) must(queue.push("x"));
  Claim mine = must(queue.claim());
  Process worker([&] {
    Queue mine = test.queue();
    std::vector<Claim> claims = must(mine.claim_many(3));
    claimed->raise();
    leave->await();
  });
  ASSERT_TRUE(claimed->wait());
  Pond pond = test.open();
  const Stats stats = must(pond.stats());
  EXPECT_EQ(stats.participants, 2u);
  ASSERT_EQ(stats.workers.size(), 2u);
  for (const WorkerInfo& info : stats.workers) {
    EXPECT_TRUE(info.alive);
    EXPECT_TRUE(info.pid == ::getpid() || info.pid == worker.pid());
    EXPECT_EQ(info.claims, info.pid == worker.pid() ? 3u : 1u);
  }
  leave->raise();
  EXPECT_EQ(worker.wait(), 0);
  EXPECT_EQ(must(queue.size()), 4u) << "claims that go out of scope are nacked";
  EXPECT_EQ(must(pond.stats()).participants, 1u);
  EXPECT_OK(mine.ack());
}

TEST(Participants, ReapCountsTheDead) {
  TestPond test;
  Shared<Event> claimed;
  Pond pond = test.open();
  Queue queue = test.queue();
  for (int i = 0; i < 3; ++i) must(queue.push("x"));
  std::vector<Process> doomed;
  for (int i = 0; i < 3; ++i) {
    doomed.emplace_back([&] {
      Queue mine = test.queue();
      Claim claim = must(mine.claim());
      claimed->raise();
      pause_forever();
    });
  }
  ASSERT_TRUE(claimed->wait(3));
  EXPECT_EQ(must(pond.reap()), 0u);
  for (Process& process : doomed) process.kill();
  EXPECT_EQ(must(pond.reap()), 3u);
  EXPECT_EQ(must(pond.reap()), 0u);
  EXPECT_EQ(must(queue.size()), 3u);
  EXPECT_EQ(must(queue.claim()).crashes(), 1u);
  EXPECT_TRUE(clean(pond));
}

TEST(Participants, ComingAndGoingLeavesNoTrace) {
  TestPond test;
  Pond pond = test.open();
  for (int i = 0; i < 40; ++i) {
    Process visitor([&, i] {
      Queue queue = test.queue();
      must(queue.push("x"));
      must(queue.pop());
      if (i % 2 == 0) ::kill(::getpid(), SIGKILL);
    });
    EXPECT_EQ(visitor.wait(), i % 2 == 0 ? 128 + SIGKILL : 0);
  }
  must(pond.reap());
  EXPECT_EQ(must(pond.stats()).participants, 1u);
  EXPECT_TRUE(clean(pond));
}

TEST(Participants, AnotherPidNamespaceIsRefused) {
  TestPond test;
  Pond pond = test.open();
  Process outer([&] {
    if (::unshare(CLONE_NEWPID) != 0) return 77;
    Process inner([&] { EXPECT_ANSWER(unsupported, Pond::open(test.name())); });
    return inner.wait();
  });
  const int code = outer.wait();
  if (code == 77) GTEST_SKIP() << "needs the right to make a pid namespace";
  EXPECT_EQ(code, 0);
}

// ------------------------------------------------------------------------------------------------- figures

TEST(Figures, StatsListEveryStream) {
  TestPond test;
  Pond pond = test.open();
  must(pond.scope("a").queue("q").push("12345"));
  must(pond.scope("a").queue("q").push("x", {.priority = 3}));
  must(pond.scope("b").log("ns", "key").append("record"));
  const Stats stats = must(pond.stats());
  EXPECT_EQ(stats.pond, test.name());
  EXPECT_EQ(stats.streams, 2u);
  EXPECT_GE(stats.page_bytes, 3u * 1024);
  EXPECT_GE(stats.segment_bytes, stats.page_bytes);
  EXPECT_LE(stats.largest_free_bytes, stats.limit_bytes);
  ASSERT_EQ(stats.details.size(), 2u);
  for (const StreamInfo& info : stats.details) {
    if (info.kind == StreamInfo::Kind::queue) {
      EXPECT_EQ(info.scope, "a");
      EXPECT_EQ(info.name, "q");
      EXPECT_EQ(info.queue.ready, 2u);
      EXPECT_EQ(info.queue.payload_bytes, 6u);
    } else {
      EXPECT_EQ(info.scope, "b");
      EXPECT_EQ(info.name, "ns");
      EXPECT_EQ(info.key, "key");
      EXPECT_EQ(info.log.records, 1u);
      EXPECT_EQ(info.log.last_seq, 1u);
    }
  }
}

TEST(Figures, JsonParsesWhateverTheNamesAre) {
  TestPond test;
  Pond pond = test.open();
  const Strings names = {"plain",
                         "",
                         "\"quoted\"\\",
                         "new\nline\t",
                         std::string("zero\0zero", 9),
                         "\xff\xfe not utf-8",
                         "gr\xc3\xbc\xc3\x9f",
                         std::string(2000, 'n')};
  for (const std::string& name : names) {
    must(pond.scope(name).queue(name).push("x"));
    must(pond.scope(name).log(name, name).append("x"));
  }
  const std::string text = must(pond.stats()).json();
  const json parsed = json::parse(text, nullptr, false);
  ASSERT_FALSE(parsed.is_discarded()) << text.substr(0, 2000);
  EXPECT_EQ(parsed.at("pond"), test.name());
  EXPECT_EQ(parsed.at("streams"), 2 * names.size());
  EXPECT_NE(text.find("base64"), std::string::npos);
}

TEST(Figures, VerifyOfAUsedPondLooksAtAllOfIt) {
  TestPond test;
  Pond pond = test.open();
  for (int i = 0; i < 1000; ++i) must(pond.scope("s").queue(std::to_string(i % 7)).push(patterned(i, 100)));
  const Findings findings = must(pond.verify());
  EXPECT_TRUE(findings.clean());
  EXPECT_EQ(findings.streams, 7u);
  EXPECT_GE(findings.records, 1000u);
  EXPECT_GE(findings.pages, 7u);
}

}  // namespace
