// A pond over a durable tier that fails it: full, forbidden, locked, replaced, newer. The operation concerned says what failed, on which file, and
// why; nothing is dropped; and when the cause is gone the pond goes on, in the same process unless the file itself was lost.

#include "support/faulty_tier.h"

namespace {

using namespace support;
using testing::HasSubstr;

class TierFaults : public FaultyTier {};

// ------------------------------------------------------------------------------------------------------------------------- full

TEST_F(TierFaults, AFullDiskIsFullAndNothingIsDropped) {
  SmallDisk disk(pond);
  if (!disk.mounted()) GTEST_SKIP() << "mounting a small file system is not allowed here";
  {
    Options options = small_and_hasty();
    options.state_home = disk.path();
    opened.emplace(must(Pond::open(pond.name(), options)));
    disk.fill(4 << 20);
    Status refused = push_until_refused();
    EXPECT_ANSWER(full, refused);
    EXPECT_THAT(refused.text(), HasSubstr("spill.db"));
    EXPECT_GT(pushed, 20'000u);
    EXPECT_EQ(must(work().size()), pushed);
    EXPECT_ANSWER(full, push_more());
    expect_popped(5000);  // reading needs no room, and gives some
    disk.make_room();
    EXPECT_OK(push_more(10'000));
    expect_all_popped();
    opened.reset();
    EXPECT_OK(Pond::remove(pond.name(), {.state_home = disk.path()}));
  }
}

TEST_F(TierFaults, WithAFullDiskAPondIsRebuiltOnceThereIsRoom) {
  SmallDisk disk(pond);
  if (!disk.mounted()) GTEST_SKIP() << "mounting a small file system is not allowed here";
  Options options = small_and_hasty();
  options.state_home = disk.path();
  Shared<std::atomic<std::uint64_t>> refused_at;
  Process life([&] {
    opened.emplace(must(Pond::open(pond.name(), options)));
    EXPECT_ANSWER(full, push_until_refused());
    *refused_at = pushed;
  });
  EXPECT_EQ(life.wait(), 0);
  ::unlink(pond.segment_path().c_str());
  Process opener([&] {
    auto rebuilt = Pond::open(pond.name(), options);
    if (!rebuilt) {
      EXPECT_ANSWER(full, rebuilt);
      EXPECT_FALSE(pond.exists());
      EXPECT_TRUE(disk.grow());
      rebuilt = Pond::open(pond.name(), options);
    }
    opened.emplace(must(std::move(rebuilt)));
    std::uint64_t before = 0, count = 0;
    for (const std::string& item : pop_all(work())) {
      EXPECT_GT(number_of(item), before);
      before = number_of(item), count++;
    }
    EXPECT_EQ(count, opened->recovered().items);
    EXPECT_GT(count, *refused_at / 2);
    opened.reset();
    EXPECT_OK(Pond::remove(pond.name(), {.state_home = disk.path()}));
  });
  EXPECT_EQ(opener.wait(), 0);
}

// -------------------------------------------------------------------------------------------------------------------- forbidden

TEST_F(TierFaults, AReadOnlyFileSystemIsPermissionUntilItIsNot) {
  open();
  std::string folder = pond.folder();
  if (::mount(folder.c_str(), folder.c_str(), nullptr, MS_BIND, nullptr) != 0 ||
      ::mount(nullptr, folder.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) != 0)
    GTEST_SKIP() << "mounting is not allowed here";
  Status refused = push_until_refused();
  EXPECT_EQ(::umount(folder.c_str()), 0);
  EXPECT_ANSWER(permission, refused);
  EXPECT_THAT(refused.text(), HasSubstr(folder));
  EXPECT_EQ(must(work().size()), pushed);
  EXPECT_OK(push_more());
  expect_all_popped();
}

TEST_F(TierFaults, AFileThatOthersMayReadIsRefusedUntilTheyMayNot) {
  open();
  EXPECT_OK(push_more(8000));
  ASSERT_EQ(::chmod(file("spill.db").c_str(), 0644), 0);
  Process other([&] {
    open();
    Status refused = push_until_refused();
    EXPECT_ANSWER(permission, refused);
    EXPECT_THAT(refused.text(), HasSubstr("spill.db"));
    EXPECT_EQ(::chmod(file("spill.db").c_str(), 0600), 0);
    EXPECT_OK(push_more());
  });
  EXPECT_EQ(other.wait(), 0);
}

// ------------------------------------------------------------------------------------------------------------------------ locked

TEST_F(TierFaults, ADatabaseThatIsLockedIsATimeoutUntilItIsFree) {
  open();
  EXPECT_OK(push_more(8000));
  {
    Foreign other(file("spill.db"));
    other.run("BEGIN IMMEDIATE");
    Status refused = push_until_refused();
    EXPECT_ANSWER(timeout, refused);
    EXPECT_THAT(refused.text(), HasSubstr("spill.db"));
    EXPECT_EQ(must(work().size()), pushed);
    expect_popped(1000);  // who writes does not disturb who reads
    other.run("ROLLBACK");
  }
  EXPECT_OK(push_more());
  expect_all_popped();
}

// The tier itself gives up sooner than that.
TEST_F(TierFaults, APushThatMayWaitOutlastsWhoHasTheDatabaseLocked) {
  open();
  EXPECT_OK(push_more(8000));
  Shared<Event> locked;
  Process other([&] {
    Foreign foreign(file("spill.db"));
    foreign.run("BEGIN IMMEDIATE");
    locked->raise();
    timespec longer_than_the_tier{1, 500'000'000};
    ::nanosleep(&longer_than_the_tier, nullptr);
    foreign.run("ROLLBACK");
  });
  ASSERT_TRUE(locked->wait());
  Queue queue = work();
  for (std::uint64_t n = 0; n < 4000; n++, pushed++)
    ASSERT_OK(queue.push(patterned(pushed + 1, 300), {.full_timeout = stretched(60s)}));
  EXPECT_EQ(other.wait(), 0);
  expect_all_popped();
}

// ---------------------------------------------------------------------------------------------------------------------- replaced

TEST_F(TierFaults, ADatabaseReplacedByGarbageIsCorruptionUntilItIsPutBack) {
  open();
  EXPECT_OK(push_more(8000));
  std::filesystem::rename(file("spill.db"), file("aside"));
  std::ofstream(file("spill.db"), std::ios::binary) << std::string(50'000, 'x');
  ASSERT_EQ(::chmod(file("spill.db").c_str(), 0600), 0);
  Status refused = push_until_refused();
  EXPECT_ANSWER(corruption, refused);
  EXPECT_THAT(refused.text(), HasSubstr("spill.db"));
  EXPECT_EQ(must(work().size()), pushed);
  Process other([&] {  // who opens it now sees the same
    open();
    EXPECT_ANSWER(corruption, push_until_refused());
  });
  EXPECT_EQ(other.wait(), 0);
  std::filesystem::rename(file("aside"), file("spill.db"));
  opened.reset();
  open();
  EXPECT_OK(push_more());
  expect_all_popped();
}

TEST_F(TierFaults, ADeletedWalIsCorruptionBeforeAnythingIsWrittenIntoTheVoid) {
  open();
  EXPECT_OK(push_more(8000));
  std::filesystem::remove(file("spill.db-wal"));
  Status refused = push_until_refused();
  EXPECT_ANSWER(corruption, refused);
  EXPECT_THAT(refused.text(), HasSubstr("spill.db"));
  EXPECT_EQ(must(work().size()), pushed);
  expect_popped(100);  // what is in memory, and what was read before
}

TEST_F(TierFaults, AnotherStoreInItsPlaceIsCorruption) {
  open();
  EXPECT_OK(push_more(8000));
  const std::filesystem::path aside = pond.home() / "aside", folder = pond.folder();
  std::filesystem::create_directory(aside);
  for (const char* name :
       {"spill.db", "spill.db-wal", "spill.db-shm", "journal.db", "journal.db-wal", "journal.db-shm"})
    std::filesystem::rename(folder / name, aside / name);
  Process other([&] {
    open();
    Status refused = push_until_refused();
    EXPECT_ANSWER(corruption, refused);
    EXPECT_FALSE(std::filesystem::exists(folder / "spill.db"));  // no new one is made in its place
  });
  EXPECT_EQ(other.wait(), 0);
  for (const auto& entry : std::filesystem::directory_iterator(aside))
    std::filesystem::rename(entry.path(), folder / entry.path().filename());
  opened.reset();
  open();
  EXPECT_OK(push_more());
}

// ------------------------------------------------------------------------------------------------------------------------- newer

TEST_F(TierFaults, ANewerVersionIsUnsupportedUntilItIsGone) {
  open();
  EXPECT_OK(push_more(8000));
  auto version = [&](int number) {
    Foreign(file("journal.db")).run("PRAGMA user_version = " + std::to_string(number));
  };
  const int present = [&] {
    Foreign connection(file("journal.db"));
    return connection.number("PRAGMA user_version");
  }();
  version(1000);
  Process other([&] {
    open();
    Status refused = push_until_refused();
    EXPECT_ANSWER(unsupported, refused);
    EXPECT_THAT(refused.text(), HasSubstr("journal.db"));
    EXPECT_EQ(must(work().size()), pushed);
    version(present);
    EXPECT_OK(push_more());
    expect_all_popped();
  });
  EXPECT_EQ(other.wait(), 0);
}

// A row that went: who comes to it is told which ids are missing, each time, and nothing behind it is given out before.
TEST_F(TierFaults, AMissingRowIsCorruptionWithItsIds) {
  open();
  EXPECT_OK(push_more(8000));
  Foreign(file("spill.db")).run("DELETE FROM page WHERE first = (SELECT max(first) FROM page)");
  Queue queue = work();
  for (;;) {
    auto item = queue.pop();
    if (item) {
      ASSERT_EQ(number_of(*item), ++popped);
      continue;
    }
    EXPECT_ANSWER(corruption, item);
    EXPECT_THAT(item.status().text(), HasSubstr(std::to_string(popped + 1)));
    EXPECT_ANSWER(corruption, queue.pop());
    break;
  }
  EXPECT_LT(popped, pushed);
  EXPECT_FALSE(must(opened->verify()).clean());
}

}  // namespace
