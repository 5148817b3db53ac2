// Files that are full, forbidden, locked, damaged, foreign, replaced, deleted or half made: what the durable tier answers.
//
// A fault is reported and named, nothing is written to a file that is not ours, and when the cause is gone the same tier works again,
// unless the file itself is lost.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <fstream>

#include "support/foreign.h"
#include "support/test_pond.h"
#include "support/test_tier.h"

namespace {

using namespace support;
using testing::HasSubstr;

class TierFiles : public testing::Test {
 protected:
  std::string pages() const { return folder.file("spill.db"); }
  std::string journal() const { return folder.file("journal.db"); }

  /// A tier with these rows of stream 1, each of 64 KiB, and three journal rows.
  std::unique_ptr<Tier> filled(std::uint64_t rows = 4) {
    auto tier = tier_in(folder.path());
    must(tier->declare(names_of(1), soon()));
    for (std::uint64_t first = 1; first <= rows; first++)
      must(store_one(*tier, page_of(1, first, first, patterned(first, 64 << 10))));
    for (std::uint64_t seq = 1; seq <= 3; seq++) must(commit_all(*tier, {push_of(1, seq, "payload")}));
    return tier;
  }
  /// The same, at rest, with everything in the main files.
  void fill_and_close(std::uint64_t rows = 4) {
    filled(rows).reset();
    for (const std::string& path : {pages(), journal()}) Foreign(path).run("PRAGMA wal_checkpoint(TRUNCATE)");
  }
  static Status store(Tier& tier, std::uint64_t first, std::uint64_t deadline = soon()) {
    std::string bytes = patterned(first, 64 << 10);
    TierPage page = page_of(1, first, first, bytes);
    return tier.store(std::span(&page, 1), deadline);
  }
  static bool loads(Tier& tier, std::uint64_t first) {
    auto row = tier.load(1, first, soon());
    return row.ok() && number_of(row->bytes) == first;
  }
  static void overwrite(const std::string& path, std::size_t at, const std::string& bytes) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at));
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (!file.flush()) throw std::runtime_error("cannot write " + path);
  }

  TestFolder folder;
};

void expect_corruption(const Status& status, const std::string& file) {
  EXPECT_ANSWER(corruption, status);
  EXPECT_THAT(status.text(), HasSubstr(file));
}

// ------------------------------------------------------------------------------------------------------------------- full

void fill_up(Tier& tier) {
  Status last;
  for (std::uint64_t first = 1; first < 1000 && last.ok(); first++) {
    std::string bytes = patterned(first, 64 << 10);
    last = store_one(tier, page_of(1, first, first, bytes));
    if (last.ok()) continue;
    EXPECT_ANSWER(full, last);
    EXPECT_THAT(last.text(), HasSubstr("spill.db"));
    EXPECT_ANSWER(not_found, tier.load(1, first, soon()));  // nothing of it
    for (std::uint64_t before = 1; before < first; before++)
      EXPECT_EQ(number_of(must(tier.load(1, before, soon())).bytes), before);
  }
  EXPECT_ANSWER(full, last);
}

TEST_F(TierFiles, AFullFileSystemIsFullUntilThereIsRoom) {
  std::string mountpoint = folder.file("small");
  ASSERT_EQ(::mkdir(mountpoint.c_str(), 0700), 0);
  if (::mount("headpond-test", mountpoint.c_str(), "tmpfs", 0, "size=3m") != 0)
    GTEST_SKIP() << "mounting a small file system is not allowed here";
  {
    auto tier = tier_in(mountpoint);
    EXPECT_OK(tier->declare(names_of(1), soon()));
    std::ofstream(mountpoint + "/ballast") << std::string(1 << 20, 'b');
    fill_up(*tier);
    EXPECT_TRUE(std::filesystem::remove(mountpoint + "/ballast"));
    EXPECT_OK(store(*tier, 900));  // the connection that failed works
    EXPECT_TRUE(loads(*tier, 1));
  }
  EXPECT_EQ(::umount(mountpoint.c_str()), 0);
}

TEST_F(TierFiles, ALimitOfFileSizeIsFullUntilItIsRaised) {
  Process limited([&] {
    auto tier = tier_in(folder.path());
    EXPECT_OK(tier->declare(names_of(1), soon()));
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{2 << 20, RLIM_INFINITY};
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    fill_up(*tier);
    limit.rlim_cur = RLIM_INFINITY;
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    EXPECT_OK(store(*tier, 900));
    EXPECT_TRUE(loads(*tier, 1));
  });
  EXPECT_EQ(limited.wait(), 0);
}

// -------------------------------------------------------------------------------------------------------------- forbidden

// As an ordinary user, whom modes concern.
template <class Body>
int as_nobody(const std::string& folder, Body body) {
  const uid_t nobody = 65534;
  if (::geteuid() == 0) {
    EXPECT_EQ(::chown(folder.c_str(), nobody, nobody), 0);
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      EXPECT_EQ(::chown(entry.path().c_str(), nobody, nobody), 0);
  }
  return Process([&] {
           if (::geteuid() == 0 && ::setuid(nobody) != 0) return 77;
           body();
           return 0;
         })
      .wait();
}

TEST_F(TierFiles, AFileThatMayNotBeWrittenIsRefusedUntilItMay) {
  fill_and_close();
  for (const std::string& path : {pages(), journal()}) {
    ASSERT_EQ(::chmod(path.c_str(), 0400), 0);
    EXPECT_EQ(as_nobody(folder.path(),
                        [&] {
                          auto refused = try_tier(folder.path());
                          EXPECT_ANSWER(permission, refused);
                          EXPECT_THAT(refused.status().text(), HasSubstr(path));
                          EXPECT_THAT(refused.status().text(), HasSubstr("chmod 600"));
                          EXPECT_EQ(::chmod(path.c_str(), 0600), 0);
                          EXPECT_TRUE(loads(*tier_in(folder.path()), 1));
                        }),
              0);
  }
}

TEST_F(TierFiles, AFolderThatMayNotBeWrittenIsRefused) {
  ASSERT_EQ(::chmod(folder.path().c_str(), 0500), 0);
  EXPECT_EQ(as_nobody(folder.path(), [&] { EXPECT_ANSWER(permission, try_tier(folder.path())); }), 0);
}

TEST_F(TierFiles, FilesThatOthersReachAreRefused) {
  fill_and_close();
  ASSERT_EQ(::chmod(pages().c_str(), 0640), 0);
  EXPECT_ANSWER(permission, try_tier(folder.path()));
  ASSERT_EQ(::chmod(pages().c_str(), 0600), 0);
  std::string other = folder.file("other");
  ASSERT_EQ(::link(journal().c_str(), other.c_str()), 0);
  EXPECT_ANSWER(permission, try_tier(folder.path()));
  ASSERT_EQ(::unlink(journal().c_str()), 0);
  ASSERT_EQ(::symlink(other.c_str(), journal().c_str()), 0);
  EXPECT_ANSWER(permission, try_tier(folder.path()));
  ASSERT_EQ(::rename(other.c_str(), journal().c_str()), 0);
  EXPECT_TRUE(loads(*tier_in(folder.path()), 1));
}

// ----------------------------------------------------------------------------------------------------------------- locked

TEST_F(TierFiles, AForeignWriterMakesWritesTimeOutAndReadsGoOn) {
  auto tier = filled();
  Foreign other(pages());
  other.run("BEGIN IMMEDIATE");
  Status late = store(*tier, 9, sys::precise_us() + 30'000);
  EXPECT_ANSWER(timeout, late);
  EXPECT_THAT(late.text(), HasSubstr("another program"));
  EXPECT_TRUE(loads(*tier, 1));
  EXPECT_OK(commit_all(*tier, {push_of(1, 4, "the other file is free")}));
  EXPECT_OK(try_tier(folder.path()));  // opening reads only
  other.run("ROLLBACK");
  EXPECT_OK(store(*tier, 9));
}

TEST_F(TierFiles, AForeignReaderKeepsTheWalFromEndingButNotUsFromWriting) {
  auto tier = filled();
  Foreign other(pages());
  other.run("BEGIN; SELECT count(*) FROM page");
  for (std::uint64_t first = 1; first <= 200; first++) ASSERT_OK(store(*tier, first));
  EXPECT_OK(tier->figures().upkeep);
  EXPECT_GT(tier->figures().wal_bytes, 8u << 20);
  other.run("COMMIT");
  for (std::uint64_t first = 201; first <= 300; first++) ASSERT_OK(store(*tier, first));
  EXPECT_OK(tier->maintain(soon()));
  for (std::uint64_t first = 1; first <= 300; first++) EXPECT_TRUE(loads(*tier, first));
}

// The space of a file that is mostly empty is given back once nobody reads what was there before.
TEST_F(TierFiles, AForeignReaderKeepsTheSpaceUntilItHasRead) {
  auto tier = filled();
  std::string bytes = patterned(1, 64 << 10);
  for (std::uint64_t first = 1001; first <= 1400; first++)
    ASSERT_OK(store_one(*tier, page_of(1, first, first, bytes)));
  Foreign other(pages());
  other.run("BEGIN; SELECT count(*) FROM page");
  ASSERT_OK(tier->erase_upto(1, 1400, soon()));
  Status held_up = tier->maintain(soon(0s));
  EXPECT_ANSWER(timeout, held_up);
  EXPECT_THAT(held_up.text(), HasSubstr("somebody reads"));
  EXPECT_EQ(tier->figures().vacuums, 1u);
  EXPECT_GT(std::filesystem::file_size(pages()), 20u << 20);
  other.run("COMMIT");
  EXPECT_OK(tier->maintain(soon(0s)));
  EXPECT_LT(tier->figures().file_bytes, 1u << 20);
  EXPECT_OK(store_one(*tier, page_of(1, 1, 1, bytes)));
  EXPECT_EQ(must(tier->load(1, 1, soon())).bytes, bytes);
}

// ---------------------------------------------------------------------------------------------------------------- damaged

TEST_F(TierFiles, GarbageIsNoDatabase) {
  fill_and_close();
  for (const std::string& path : {pages(), journal()}) {
    std::string kept = folder.file("kept");
    std::filesystem::copy_file(path, kept, std::filesystem::copy_options::overwrite_existing);
    overwrite(path, 0, patterned(1, 8192));
    auto refused = try_tier(folder.path());
    EXPECT_ANSWER(corruption, refused);
    EXPECT_THAT(refused.status().text(), HasSubstr(path));
    std::filesystem::copy_file(kept, path, std::filesystem::copy_options::overwrite_existing);
  }
  EXPECT_TRUE(loads(*tier_in(folder.path()), 1));
}

TEST_F(TierFiles, ATruncatedFileGivesRightRowsOrCorruption) {
  fill_and_close(40);
  std::filesystem::resize_file(pages(), std::filesystem::file_size(pages()) / 2);
  auto tier = try_tier(folder.path());
  if (!tier) return expect_corruption(tier.status(), pages());
  int damaged = 0;
  for (std::uint64_t first = 1; first <= 40; first++) {
    auto row = (*tier)->load(1, first, soon());
    EXPECT_TRUE(row.ok() ? number_of(row->bytes) == first : row.code() == Code::corruption);
    damaged += !row.ok();
  }
  EXPECT_GT(damaged, 0);
  EXPECT_ANSWER(corruption, store(**tier, 50));  // no more writing
}

TEST_F(TierFiles, ADamagedRowStandsForItself) {
  auto tier = filled();
  Foreign(pages()).run("UPDATE page SET bytes = zeroblob(length(bytes)) WHERE first = 2");
  auto row = tier->load(1, 2, soon());
  EXPECT_ANSWER(corruption, row);
  EXPECT_THAT(row.status().text(), HasSubstr("stream 1 with ids 2 to 2"));
  EXPECT_TRUE(loads(*tier, 1));
  EXPECT_OK(store(*tier, 2));  // stored again it is whole
  EXPECT_TRUE(loads(*tier, 2));
}

TEST_F(TierFiles, EveryColumnOfARowIsUnderItsChecksum) {
  auto tier = filled();
  for (const char* change :
       {"last = last + 1", "n = n + 1", "created = created + 1", "encoding = 1", "encoding = 9",
        "checksum = checksum + 1", "n = n + 4294967296", "bytes = x''"}) {
    ASSERT_OK(store(*tier, 3));
    Foreign(pages()).run(std::string("UPDATE page SET ") + change + " WHERE first = 3");
    EXPECT_ANSWER(corruption, tier->load(1, 3, soon())) << change;
  }
  Foreign(pages()).run("UPDATE page SET first = 100 WHERE first = 3");
  EXPECT_ANSWER(corruption, tier->load(1, 100, soon()));
}

TEST_F(TierFiles, ADamagedJournalRowIsCorruption) {
  auto tier = filled();
  Foreign(journal()).run(
      "UPDATE journal SET entries = (SELECT entries FROM journal WHERE lsn = 1) WHERE lsn = 2");
  auto ignore = [](const JournalEntry&) { return Status(); };
  Status found = tier->replay(ignore, soon());
  expect_corruption(found, "row 2 of the journal");
  EXPECT_ANSWER(corruption, tier->trim(
                                10, [](const JournalEntry&) { return true; }, soon()));
  EXPECT_EQ(must(tier->journal_rows(soon())), 3u);
}

// Flipped bytes anywhere: right data or an error, never other data, never a crash.
TEST_F(TierFiles, AnyDamageGivesRightDataOrAnError) {
  WITH_SEED(seed);
  Random random(seed);
  fill_and_close(6);
  std::filesystem::create_directory(folder.file("kept"));
  for (const char* name : {"spill.db", "journal.db"})
    std::filesystem::copy_file(folder.file(name), folder.file("kept/") + name);
  std::uint64_t rounds = number_from("HEADPOND_DAMAGE_ROUNDS", 60);
  for (std::uint64_t round = 0; round < rounds; round++) {
    must(remove_tier(folder.path(), [] { return Status(); }));
    for (const char* name : {"spill.db", "journal.db"}) {
      std::filesystem::copy_file(folder.file("kept/") + name, folder.file(name));
      std::uint64_t size = std::filesystem::file_size(folder.file(name));
      for (std::uint64_t n = random.below(5); n > 0; n--) {
        std::uint64_t page = random.below(size / 4096) * 4096;
        std::string noise;
        for (std::uint64_t i = random.below(64); i > 0; i--)
          noise.push_back(static_cast<char>(random.below(256)));
        overwrite(folder.file(name), page + random.below(random.one_in(2) ? 128 : 4000), noise);
      }
    }
    auto tier = try_tier(folder.path());
    if (!tier) continue;
    for (std::uint64_t first = 1; first <= 6; first++)
      if (auto row = (*tier)->load(1, first, soon()); row.ok()) {
        EXPECT_EQ(number_of(row->bytes), first);
      }
    auto ignore = [](const JournalEntry& entry) {
      EXPECT_EQ(entry.payload, "payload");
      return Status();
    };
    (void)(*tier)->list(
        1, [](const TierSpan&) { return Status(); }, soon());
    (void)(*tier)->streams_with_rows(soon());
    (void)(*tier)->streams(soon());
    (void)(*tier)->survivors([](const Tier::Acked&) { return Status(); }, ignore, soon());
    (void)store(**tier, 9);
    (void)(*tier)->erase_upto(1, 3, soon());
    (void)(*tier)->trim(
        10, [](const JournalEntry&) { return true; }, soon());
    (void)commit_all(**tier, {push_of(1, 4, "payload")});
    (void)(*tier)->maintain(soon());
  }
}

// ----------------------------------------------------------------------------------------------- replaced, deleted, foreign

TEST_F(TierFiles, AFileDeletedOrReplacedWhileOpenIsNoticedBeforeTheNextCommit) {
  for (const char* name : {"spill.db", "spill.db-wal", "journal.db", "journal.db-wal", "lock"}) {
    SCOPED_TRACE(name);
    must(remove_tier(folder.path(), [] { return Status(); }));
    auto tier = filled();
    std::string path = folder.file(name), aside = folder.file("aside");
    std::filesystem::rename(path, aside);
    Status deleted = store(*tier, 9);
    expect_corruption(deleted, path);
    EXPECT_THAT(deleted.text(), HasSubstr("deleted"));
    expect_corruption(commit_all(*tier, {push_of(1, 9, "x")}).status(), path);
    EXPECT_TRUE(loads(*tier, 1));  // the file that it has open is whole
    std::filesystem::rename(aside, path);
    expect_corruption(store(*tier, 9), path);  // who has seen it writes no more
    EXPECT_OK(store(*tier_in(folder.path()), 9));
  }
  for (const char* name : {"spill.db", "journal.db"}) {
    SCOPED_TRACE(name);
    must(remove_tier(folder.path(), [] { return Status(); }));
    auto tier = filled();
    std::filesystem::copy_file(folder.file(name), folder.file("copy"));
    std::filesystem::rename(folder.file("copy"), folder.file(name));
    Status replaced = store(*tier, 9);
    expect_corruption(replaced, folder.file(name));
    EXPECT_THAT(replaced.text(), HasSubstr("replaced"));
  }
}

TEST_F(TierFiles, WhatWasDeletedAtRestIsMissed) {
  TierIdentity identity = filled()->identity();
  std::filesystem::remove(pages() + "-wal");
  expect_corruption(try_tier(folder.path(), true, identity).status(), folder.path());
  must(remove_tier(folder.path(), [] { return Status(); }));
  fill_and_close();
  std::filesystem::rename(pages(), folder.file("aside"));
  expect_corruption(try_tier(folder.path()).status(), pages());
  std::filesystem::rename(folder.file("aside"), pages());
  std::filesystem::remove(journal());
  expect_corruption(try_tier(folder.path()).status(), journal());
  must(remove_tier(folder.path(), [] { return Status(); }));
  expect_corruption(try_tier(folder.path(), true, identity).status(), journal());
}

TEST_F(TierFiles, FilesOfAnotherStoreAreRefused) {
  fill_and_close();
  TestFolder other;
  TierIdentity identity = tier_in(other.path())->identity();
  expect_corruption(try_tier(folder.path(), true, identity).status(), folder.path());
  Foreign(other.file("spill.db")).run("PRAGMA wal_checkpoint(TRUNCATE)");
  std::filesystem::copy_file(other.file("spill.db"), pages(),
                             std::filesystem::copy_options::overwrite_existing);
  expect_corruption(try_tier(folder.path()).status(), pages());
}

TEST_F(TierFiles, AnotherStorePutInPlaceUnderAnOpenTierIsNoticed) {
  auto tier = filled();
  Foreign(pages()).run("UPDATE meta SET store_id = store_id + 1");
  expect_corruption(store(*tier, 9), pages());
  EXPECT_OK(commit_all(*tier, {push_of(1, 9, "x")}));
  Foreign(journal()).run("DELETE FROM meta");
  expect_corruption(commit_all(*tier, {push_of(1, 9, "x")}).status(), journal());
}

TEST_F(TierFiles, ForeignDatabasesAndNewerLayoutsAreLeftAlone) {
  fill_and_close();
  Foreign(pages()).run("PRAGMA user_version = 2");
  auto newer = try_tier(folder.path());
  EXPECT_ANSWER(unsupported, newer);
  EXPECT_THAT(newer.status().text(), HasSubstr("newer headpond"));
  Foreign(pages()).run("PRAGMA user_version = 0");
  auto older = try_tier(folder.path());
  EXPECT_ANSWER(unsupported, older);
  EXPECT_THAT(older.status().text(), HasSubstr("older headpond"));
  Foreign(pages()).run("PRAGMA user_version = 1; PRAGMA application_id = 7");
  auto foreign = try_tier(folder.path());
  EXPECT_ANSWER(corruption, foreign);
  EXPECT_THAT(foreign.status().text(), HasSubstr("another program"));
}

// -------------------------------------------------------------------------------------------------------------- half made

TEST_F(TierFiles, AStoreWhoseMakerDiedIsFinishedByTheNext) {
  auto finished = [&] {
    auto tier = filled();
    return loads(*tier, 4);
  };
  std::ofstream(journal()).close();  // died after making the first file
  ASSERT_EQ(::chmod(journal().c_str(), 0600), 0);
  EXPECT_ANSWER(not_found, try_tier(folder.path(), false));
  EXPECT_TRUE(finished());
  Foreign(journal()).run("UPDATE meta SET complete = 0");  // died before the last step
  EXPECT_TRUE(finished());
  Foreign(journal()).run("UPDATE meta SET complete = 0");  // before the second file had tables
  for (const char* ending : {"", "-wal", "-shm"}) std::filesystem::remove(pages() + ending);
  std::ofstream(pages()).close();
  ASSERT_EQ(::chmod(pages().c_str(), 0600), 0);
  EXPECT_TRUE(finished());
}

TEST_F(TierFiles, AnEpochBegunInOneFileIsFinishedByTheNextOpener) {
  for (const std::string& path : {pages(), journal()}) {
    std::uint64_t before = filled()->identity().epoch;
    Foreign(path).run("UPDATE meta SET epoch = epoch + 1");
    auto tier = tier_in(folder.path());
    EXPECT_EQ(tier->identity().epoch, before + 1);
    EXPECT_OK(store(*tier, 9));
    EXPECT_OK(commit_all(*tier, {push_of(1, 9, "x")}));
  }
}

}  // namespace
