// The durable tier among processes: together, killed, stopped, forked.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/file.h>

#include <array>
#include <map>
#include <set>
#include <thread>

#include "support/deadly_disk.h"
#include "support/test_pond.h"
#include "support/test_tier.h"

namespace {

using namespace support;
using testing::HasSubstr;

constexpr std::uint64_t kItems = 1 << 16;

/// What writers said, where their deaths can't reach it: a byte an item.
struct Ledger {
  std::array<std::atomic<std::uint8_t>, kItems> pushed, acked, stored;  // 1: begun, 2: answered ok
  std::atomic<std::uint64_t> next{1}, errors{0}, lsn{0};
};

void raise_to(std::atomic<std::uint64_t>& word, std::uint64_t value) {
  for (std::uint64_t seen = word; seen < value && !word.compare_exchange_weak(seen, value);) continue;
}

/// Pushes, stores, loads, acks, erases and trims until it is killed.
void work(Tier& tier, Ledger& ledger, std::uint64_t seed) {
  Random random(seed);
  auto check = [&](const Status& status) {
    if (!status) std::fprintf(stderr, "writer %d: %s\n", ::getpid(), describe(status).c_str());
    if (!status) ledger.errors++;
    return status.ok();
  };
  auto commit = [&](const JournalEntry& entry) {
    auto lsn = tier.commit(std::span(&entry, 1), ledger.lsn, soon());
    if (lsn) raise_to(ledger.lsn, *lsn);
    return check(lsn.status());
  };
  for (;;) {
    std::uint64_t seq = ledger.next++;
    if (seq >= kItems) return;
    std::string bytes = patterned(seq, 1 + random.below(100'000));
    ledger.pushed[seq] = 1;
    if (commit(push_of(1, seq, "payload"))) ledger.pushed[seq] = 2;
    ledger.stored[seq] = 1;
    if (check(store_one(tier, page_of(1, seq, seq, bytes)))) ledger.stored[seq] = 2;
    std::uint64_t other = 1 + random.below(seq);
    if (ledger.stored[other] == 2 && ledger.acked[other] == 0) {
      auto row = tier.load(1, other, soon());
      bool gone = row.code() == Code::not_found && ledger.acked[other] != 0;  // acked and erased meanwhile
      if (!gone && check(row.status()) && number_of(row->bytes) != other) ledger.errors++;
    }
    if (random.one_in(2)) {
      ledger.acked[seq] = 1;
      if (commit(ack_of(1, seq, seq))) ledger.acked[seq] = 2;
      if (random.one_in(2)) check(tier.erase(1, std::span(&seq, 1), soon()));
    }
    auto keep = [&](const JournalEntry& entry) {
      return entry.kind != JournalEntry::Kind::push || ledger.acked[entry.birth_seq] == 0;
    };
    if (random.one_in(10)) check(tier.trim(50, keep, soon()));
  }
}

void expect_promises_kept(Tier& tier, Ledger& ledger) {
  EXPECT_EQ(ledger.errors, 0u);
  EXPECT_GE(must(tier.last_lsn(soon())), ledger.lsn);
  std::set<std::uint64_t> live, acked_now;
  auto acks = [&](const Tier::Acked& acked) {
    for (std::uint64_t seq = 1; seq < std::min<std::uint64_t>(ledger.next, kItems); seq++)
      if (acked(1, seq)) acked_now.insert(seq);
    return Status();
  };
  auto visit = [&](const JournalEntry& entry) { return live.insert(entry.birth_seq), Status(); };
  ASSERT_OK(tier.survivors(acks, visit, soon()));
  for (std::uint64_t seq = 1; seq < std::min<std::uint64_t>(ledger.next, kItems); seq++) {
    if (ledger.pushed[seq] == 2 && ledger.acked[seq] == 0) {
      EXPECT_TRUE(live.contains(seq)) << "lost " << seq;
      EXPECT_FALSE(acked_now.contains(seq)) << "nobody acked " << seq;
    }
    if (ledger.acked[seq] == 2) {
      EXPECT_FALSE(live.contains(seq)) << "back " << seq;
    }
    auto row = tier.load(1, seq, soon());
    if (ledger.stored[seq] == 2 && ledger.acked[seq] == 0) {
      ASSERT_OK(row);
    }
    if (row.ok()) {
      EXPECT_EQ(number_of(row->bytes), seq);
    }
  }
}

void make(const std::string& folder) {
  auto tier = tier_in(folder);
  must(tier->declare(names_of(1), soon()));
}

TEST(TierProcesses, ManyProcessesStoreCommitAndTrimAtOnce) {
  WITH_SEED(seed);
  TestFolder folder;
  make(folder.path());
  Shared<Ledger> ledger;
  std::vector<Process> writers;
  for (std::uint64_t i = 0; i < 4; i++)
    writers.emplace_back([&] {
      auto tier = tier_in(folder.path());
      work(*tier, *ledger, seed + i);
    });
  EXPECT_TRUE(eventually([&] { return ledger->next > 400; }, 60s));
  for (Process& writer : writers) writer.kill();
  auto tier = tier_in(folder.path());
  expect_promises_kept(*tier, *ledger);
}

TEST(TierProcesses, WritersKilledAnywhereLoseNothingAndHoldUpNobody) {
  WITH_SEED(seed);
  Random random(seed);
  TestFolder folder;
  make(folder.path());
  Shared<Ledger> ledger;
  auto spawn = [&](std::uint64_t i) {
    return Process([&, i] {
      auto tier = tier_in(folder.path());
      work(*tier, *ledger, seed + i);
    });
  };
  std::vector<Process> writers;
  for (std::uint64_t i = 0; i < 3; i++) writers.push_back(spawn(i));
  std::uint64_t kills = number_from("HEADPOND_TIER_KILLS", 60);
  auto survivor = tier_in(folder.path());
  for (std::uint64_t i = 0; i < kills && ledger->next < kItems; i++) {
    std::uint64_t seen = ledger->next, wanted = 1 + random.below(8);
    ASSERT_TRUE(eventually([&] { return ledger->next >= std::min(seen + wanted, kItems); }, 60s));
    sys::nap(random.below(3000));  // anywhere in an item
    Process& victim = writers[random.below(writers.size())];
    victim.kill();
    ASSERT_OK(survivor->barrier(soon()));  // whatever it held is free
    victim = spawn(3 + i);
  }
  for (Process& writer : writers) writer.kill();
  expect_promises_kept(*survivor, *ledger);
  survivor.reset();
  auto fresh = tier_in(folder.path());
  expect_promises_kept(*fresh, *ledger);
}

/// A leader's batch: several entries for one commit.
constexpr std::uint64_t kBatch = 8;

struct Batches {
  std::atomic<std::uint64_t> begun{0}, confirmed{0}, lsn{0};
};

std::vector<JournalEntry> batch_of(std::uint64_t number) {
  std::vector<JournalEntry> entries;
  for (std::uint64_t i = 1; i <= kBatch; i++) entries.push_back(push_of(1, number * kBatch + i, "payload"));
  return entries;
}

/// Who leads, until it is killed: commits what no leader before it has seen confirmed, and trims now and then.
void lead(Tier& tier, Batches& batches) {
  for (;;) {
    std::uint64_t number = batches.confirmed + 1;
    batches.begun = number;
    batches.lsn = must(tier.commit(batch_of(number), batches.lsn, soon()));
    batches.confirmed = number;
    if (number % 16 == 0)
      must(tier.trim(
          12, [](const JournalEntry&) { return true; }, soon()));
  }
}

// Before COMMIT nothing has happened, after it all of it has, and the next leader writes the same again, harmlessly.
TEST(TierProcesses, ALeaderKilledInItsCommitIsFollowed) {
  WITH_SEED(seed);
  Random random(seed);
  TestFolder folder;
  make(folder.path());
  Shared<Batches> batches;
  auto survivor = tier_in(folder.path());
  std::uint64_t kills = number_from("HEADPOND_TIER_KILLS", 40), took = 0, whole = 0;
  for (std::uint64_t i = 0; i < kills; i++) {
    std::uint64_t before = batches->confirmed;
    if (random.one_in(2))
      survivor.reset();  // or nobody survives: the next one recovers the log from the file
    Process leader([&] {
      auto tier = tier_in(folder.path());
      lead(*tier, *batches);
    });
    std::uint64_t wanted = before + 1 + random.below(3);
    ASSERT_TRUE(eventually([&] { return batches->begun >= wanted; }, 60s));
    sys::nap(random.below(std::max<std::uint64_t>(took, 1500)));  // anywhere in that commit or the next
    leader.kill();
    if (!survivor) survivor = tier_in(folder.path());
    std::map<std::uint64_t, std::uint64_t> found;  // entries by batch
    auto visit = [&](const JournalEntry& entry) { return found[(entry.birth_seq - 1) / kBatch]++, Status(); };
    ASSERT_OK(survivor->survivors([](const Tier::Acked&) { return Status(); }, visit, soon()));
    for (auto [number, entries] : found) ASSERT_EQ(entries, kBatch) << "a torn batch " << number;
    ASSERT_GE(found.size(), batches->confirmed) << "lost";
    ASSERT_LE(found.size(), batches->confirmed + 1) << "more than was ever begun";
    whole += found.size() > batches->confirmed;
    std::int64_t start = now_us();
    batches->lsn = must(survivor->commit(batch_of(batches->confirmed + 1), batches->lsn, soon()));
    took = static_cast<std::uint64_t>(now_us() - start);
    batches->confirmed++;
  }
  std::printf("%llu leaders killed; %llu had committed what they did not live to confirm\n",
              static_cast<unsigned long long>(kills), static_cast<unsigned long long>(whole));
}

// Killed behind its last write to the WAL it has committed for who opens the files after all have closed them, and for nobody else. What another says
// afterwards holds, though it says what it sees there.
TEST(TierProcesses, AKilledCommitOfASettingDoesNotComeBackAfterTheNext) {
  const TierSetting none{2, "scope", "queue", {}, {}, {}}, some{2, "scope", "queue", {}, {}, "set"};
  auto commit = [](Tier& tier, const TierSetting& one) {
    must(tier.commit({}, std::span(&one, 1), 0, soon()));
  };
  Shared<DeadlyDisk::Calls> calls;
  for (const auto& change : {std::pair(some, none), std::pair(none, some)}) {
    const TierSetting &before = change.first, &killed = change.second;
    bool over = false;
    for (std::uint64_t moment = 0; !over; moment++) {
      TestFolder folder;
      auto survivor = tier_in(folder.path());
      commit(*survivor, before);
      *calls = 0;
      Process victim([&] {
        DeadlyDisk::arm(*calls, moment);
        auto tier = tier_in(folder.path());
        commit(*tier, killed);
      });
      over = victim.wait() == 0;
      commit(*survivor, before);
      survivor.reset();
      auto found = must(tier_in(folder.path())->settings(soon()));
      ASSERT_EQ(found.empty() ? std::nullopt : found[0].value, before.value) << "moment " << moment;
    }
  }
}

TEST(TierProcesses, MakersKilledAnywhereAreFollowed) {
  WITH_SEED(seed);
  Random random(seed);
  for (int round = 0; round < 15; round++) {
    TestFolder folder;
    Shared<Event> begun;
    Process maker([&] {
      begun->raise();
      auto tier = tier_in(folder.path());
      must(tier->declare(names_of(1), soon()));
      pause_forever();
    });
    ASSERT_TRUE(begun->wait());
    sys::nap(random.below(15'000));
    maker.kill();
    auto tier = tier_in(folder.path());
    ASSERT_OK(tier->declare(names_of(1), soon()));
    ASSERT_OK(store_one(*tier, page_of(1, 1, 1, "x")));
    ASSERT_OK(commit_all(*tier, {push_of(1, 1, "x")}));
  }
}

TEST(TierProcesses, ManyOpenersMakeOneStore) {
  TestFolder folder;
  Shared<std::array<std::atomic<std::uint64_t>, 6>> stores;
  std::vector<Process> openers;
  for (auto& store : *stores)
    openers.emplace_back([&] { store = tier_in(folder.path())->identity().store_id; });
  for (Process& opener : openers) EXPECT_EQ(opener.wait(), 0);
  for (auto& store : *stores) EXPECT_EQ(store, (*stores)[0]);
}

// ------------------------------------------------------------------------------------------------------------------ stopped

/// A process that holds the lock byte of a database, stopped.
TEST(TierProcesses, AStoppedHolderMakesOthersTimeOutUntilItGoesOn) {
  TestFolder folder;
  make(folder.path());
  auto tier = tier_in(folder.path());
  ASSERT_OK(store_one(*tier, page_of(1, 1, 1, "x")));
  Shared<Event> held;
  Process holder([&] {
    sys::Fd lock;
    EXPECT_EQ(sys::open_file(folder.file("lock"), false, lock), 0);
    EXPECT_EQ(sys::lock_waiting(lock, 2, 10'000), 0);
    EXPECT_EQ(sys::lock_waiting(lock, 3, 10'000), 0);
    held->raise();
    held->await(2);
  });
  ASSERT_TRUE(held->wait());
  holder.stop();
  TierPage page = page_of(1, 2, 2, "x");
  Status late = tier->store(std::span(&page, 1), sys::precise_us() + 50'000);
  EXPECT_ANSWER(timeout, late);
  EXPECT_THAT(late.text(), HasSubstr("another process"));
  EXPECT_ANSWER(timeout, tier->commit(std::vector{push_of(1, 1, "x")}, 0, sys::precise_us() + 10'000));
  EXPECT_ANSWER(timeout, open_tier({.folder = folder.path(), .create = true, .expected = {}, .vfs = ""}, 0));
  EXPECT_EQ(must(tier->load(1, 1, soon())).bytes, "x");  // reads need no lock
  holder.go_on();
  held->raise();
  EXPECT_EQ(holder.wait(), 0);
  EXPECT_OK(store_one(*tier, page_of(1, 2, 2, "x")));
}

// ------------------------------------------------------------------------------------------------------------------ forked

TEST(TierForks, TheChildsCallsAnswerForkedAndItOpensATierOfItsOwn) {
  TestFolder folder;
  auto tier = tier_in(folder.path());
  ASSERT_OK(tier->declare(names_of(1), soon()));
  ASSERT_OK(store_one(*tier, page_of(1, 1, 1, "the parent's")));
  Process child([&] {
    EXPECT_ANSWER(forked, store_one(*tier, page_of(1, 2, 2, "x")));
    EXPECT_ANSWER(forked, tier->store({}, soon()));
    EXPECT_ANSWER(forked, tier->load(1, 1, soon()));
    EXPECT_ANSWER(forked, tier->load_from(1, 1, soon()));
    EXPECT_ANSWER(forked, tier->load_holding(1, 1, soon()));
    EXPECT_ANSWER(forked, tier->erase_upto(1, 1, soon()));
    EXPECT_ANSWER(forked, tier->totals(1, 1, 1, soon()));
    EXPECT_ANSWER(forked, tier->declare(names_of(2), soon()));
    EXPECT_ANSWER(forked, tier->streams(soon()));
    EXPECT_ANSWER(forked, tier->barrier(soon()));
    EXPECT_ANSWER(forked, commit_all(*tier, {push_of(1, 1, "x")}));
    EXPECT_ANSWER(forked, tier->last_lsn(soon()));
    EXPECT_ANSWER(forked, tier->begin_epoch(9, soon()));
    EXPECT_ANSWER(forked, tier->maintain(soon()));
    EXPECT_EQ(tier->figures().file_bytes, 0u);
    auto own = tier_in(folder.path());
    EXPECT_EQ(must(own->load(1, 1, soon())).bytes, "the parent's");
    EXPECT_OK(store_one(*own, page_of(1, 3, 3, "the child's")));
    tier.reset();  // the destructor does nothing to what is the parent's
    EXPECT_OK(store_one(*own, page_of(1, 4, 4, "the child's")));
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(must(tier->load(1, 4, soon())).bytes, "the child's");
  EXPECT_OK(store_one(*tier, page_of(1, 5, 5, "the parent's")));
}

/// Is there a POSIX lock of that process on the file? The kernel's list names them by inode.
bool has_posix_lock(pid_t pid, const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return false;
  std::string inode = ":" + std::to_string(status.st_ino) + " ", owner = " " + std::to_string(pid) + " ";
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);)
    if (line.find("POSIX") != std::string::npos && line.find(inode) != std::string::npos &&
        line.find(owner) != std::string::npos)
      return true;
  return false;
}

// SQLite keeps its locks per process: a child that did not let go of what it inherited would believe that it has the parent's.
TEST(TierForks, AChildsOwnTierHasLocksOfItsOwn) {
  TestFolder folder;
  auto tier = tier_in(folder.path());
  ASSERT_OK(tier->declare(names_of(1), soon()));
  ASSERT_OK(store_one(*tier, page_of(1, 1, 1, "x")));
  ASSERT_TRUE(has_posix_lock(::getpid(), folder.file("spill.db-shm")));
  Process child([&] {
    EXPECT_FALSE(has_posix_lock(::getpid(), folder.file("spill.db-shm")));
    auto own = tier_in(folder.path());
    for (const char* name : {"spill.db", "spill.db-shm", "journal.db", "journal.db-shm"})
      EXPECT_TRUE(has_posix_lock(::getpid(), folder.file(name))) << name;
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_TRUE(has_posix_lock(::getpid(), folder.file("spill.db-shm")));  // the child took nothing away
  EXPECT_OK(store_one(*tier, page_of(1, 2, 2, "x")));
}

// Forks in the middle of other threads' calls: the parent's calls go on, a child holds no lock for a dead parent.
TEST(TierForks, ForksAmongCallsTearNothingApart) {
  if (kAddressSanitizer)
    GTEST_SKIP() << "a child of a process with threads may find AddressSanitizer's allocator locked for good";
  TestFolder folder;
  make(folder.path());
  Shared<Event> ready;
  Shared<std::array<std::atomic<pid_t>, 20>> forked;
  Process parent([&] {
    auto tier = tier_in(folder.path());
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < 3; t++)
      threads.emplace_back([&, t] {
        for (std::uint64_t seq = t * 1'000'000 + 1; !stop; seq++) {
          EXPECT_OK(store_one(*tier, page_of(1, seq, seq, patterned(seq, 50'000))));
          EXPECT_EQ(number_of(must(tier->load(1, seq, soon())).bytes), seq);
          EXPECT_OK(commit_all(*tier, {push_of(1, seq, "x")}));
        }
      });
    for (auto& pid : *forked) {
      pid_t child = ::fork();
      if (child == 0) {
        Status answer = store_one(*tier, page_of(1, 1, 1, "x"));
        if (!(answer == Code::forked)) ::_exit(3);
        ready->raise();
        pause_forever();  // lives on with what it inherited
      }
      pid = child;
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
  });
  EXPECT_EQ(parent.wait(60s), 0);
  EXPECT_TRUE(ready->wait(20));
  auto tier = tier_in(folder.path());
  EXPECT_OK(store_one(*tier, page_of(1, 1, 1, "x")));
  EXPECT_OK(commit_all(*tier, {push_of(1, 1, "x")}));
  for (auto& pid : *forked) ::kill(pid, SIGKILL);
}

}  // namespace
