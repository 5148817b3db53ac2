// The power goes at any write or sync: what was promised is there afterwards, and nothing else.
//
// HEADPOND_POWER_CUTS says how many cuts there are; each is one run of the same story with other dice.

#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "support/power_disk.h"
#include "support/test_pond.h"
#include "support/test_tier.h"

namespace {

using namespace support;

constexpr std::uint64_t kStream = 1;
constexpr std::size_t kPageBytes = 48 << 10;

/// A little pond: items are pushed durably, some are stored as page rows, some are acked, the journal is trimmed. It remembers what it was
/// promised.
class Story {
 public:
  Story(std::string folder, std::uint64_t seed) : folder_(std::move(folder)), random_(seed) {}

  /// Until the end, or until the power goes.
  void run() {
    auto opened =
        open_tier({.folder = folder_, .create = true, .expected = {}, .vfs = PowerDisk::vfs}, soon());
    if (!opened) return went_off(opened.status());
    tier_ = std::move(*opened);
    Status last = tier_->declare(names_of(kStream), soon());
    declared_ = last.ok();
    for (int step = 0; last.ok() && step < 40; step++) last = one_step();
    went_off(last);
    tier_.reset();
  }

  /// What is wrong after the power is back; empty: nothing.
  std::string found() {
    auto opened =
        open_tier({.folder = folder_, .create = !declared_, .expected = {}, .vfs = PowerDisk::vfs}, soon());
    if (!opened) return "opening answers " + describe(opened.status());
    tier_ = std::move(*opened);
    std::string trouble = compare();
    if (trouble.empty() && declared_) {
      Status goes_on = store_one(*tier_, page_of(kStream, 1'000'000, 1'000'000, "goes on"));
      if (!goes_on) trouble = "storing answers " + describe(goes_on);
    }
    tier_.reset();
    return trouble;
  }

 private:
  using Rows = std::map<std::uint64_t, std::uint64_t>;  // first id -> number of the content

  void went_off(const Status& status) {
    if (!status && !PowerDisk::is_off()) ADD_FAILURE() << "before the cut: " << describe(status);
  }

  Status one_step() {
    switch (random_.below(8)) {
      case 0:
      case 1:
      case 2: return push();
      case 3: return ack();
      case 4:
      case 5: return store();
      case 6: return erase();
      default: return random_.one_in(2) ? trim() : safe(tier_->barrier(soon()));
    }
  }

  Status push() {
    std::vector<JournalEntry> entries;
    std::vector<std::uint64_t> seqs;
    for (std::uint64_t n = 1 + random_.below(4); n > 0; n--) {
      seqs.push_back(next_++);
      entries.push_back(push_of(kStream, seqs.back(), "payload"));
    }
    maybe_pushed_.insert(seqs.begin(), seqs.end());
    Status done = commit(entries);
    if (done) pushed_.insert(seqs.begin(), seqs.end()), live_.insert(seqs.begin(), seqs.end());
    return done;
  }
  Status ack() {
    if (live_.empty()) return {};
    auto first = live_.begin();
    std::advance(first, random_.below(live_.size()));
    std::uint64_t seq = *first;
    live_.erase(first), maybe_acked_.insert(seq);
    Status done = commit({ack_of(kStream, seq, seq)});
    if (done) acked_.insert(seq);
    return done;
  }
  Status commit(const std::vector<JournalEntry>& entries) {
    auto lsn = tier_->commit(entries, lsn_, soon());
    if (lsn) lsn_ = *lsn;
    return lsn.status();
  }

  // Some items that are in memory only go into rows of their own; some rows are stored again.
  Status store() {
    Rows next = rows_;
    std::vector<std::string> bytes;
    std::vector<TierPage> pages;
    for (std::uint64_t seq : live_) {
      if (!random_.one_in(3) || pages.size() == 12) continue;
      next[seq] = ++content_;
      bytes.push_back(patterned(content_, kPageBytes));
    }
    std::size_t i = 0;
    for (auto [seq, content] : next)
      if (!rows_.contains(seq) || rows_[seq] != content)
        pages.push_back(page_of(kStream, seq, seq, bytes[i++]));
    return changed(next, tier_->store(pages, soon()));
  }
  Status erase() {
    Rows next = rows_;
    std::vector<std::uint64_t> firsts;
    for (auto [seq, content] : rows_)
      if (maybe_acked_.contains(seq)) firsts.push_back(seq), next.erase(seq);
    return changed(next, tier_->erase(kStream, firsts, soon()));
  }
  // Safe against kills now, against power cuts later.
  Status changed(const Rows& next, Status done) {
    history_.push_back(next);
    if (done) rows_ = next;
    return done;
  }
  Status safe(Status done) {
    if (done) safe_ = history_.size() - 1;
    return done;
  }
  Status trim() {
    auto keep = [&](const JournalEntry& entry) {
      bool has_row = rows_.contains(entry.birth_seq);
      if (entry.kind == JournalEntry::Kind::push) return !has_row && !maybe_acked_.contains(entry.birth_seq);
      for (std::uint64_t seq = entry.birth_seq; seq <= entry.birth_last; seq++)
        if (rows_.contains(seq)) return true;
      return false;
    };
    return safe(tier_->trim(1 + static_cast<std::uint32_t>(random_.below(20)), keep, soon()));
  }

  Result<Rows> rows_on_disk() {
    Rows rows;
    auto visit = [&](const TierSpan& span) {
      auto row = tier_->load(kStream, span.first, soon());
      if (!row) return row.status();
      rows[span.first] = number_of(row->bytes);
      return Status();
    };
    if (Status listed = tier_->list(kStream, visit, soon()); !listed) return listed;
    return rows;
  }

  std::string compare() {
    auto rows = rows_on_disk();
    if (!rows) return "reading rows answers " + describe(rows.status());
    // As after one of the transactions from the last barrier on: in order, and whole.
    if (std::find(history_.begin() + static_cast<std::ptrdiff_t>(safe_), history_.end(), *rows) ==
        history_.end())
      return "the rows are those of no transaction since the last barrier";
    std::set<std::uint64_t> live, dead;
    auto acks = [&](const Tier::Acked& acked) {
      for (std::uint64_t seq = 1; seq < next_; seq++)
        if (acked(kStream, seq)) dead.insert(seq);
      for (auto [seq, content] : *rows)
        if (!acked(kStream, seq)) live.insert(seq);
      return Status();
    };
    auto visit = [&](const JournalEntry& entry) { return live.insert(entry.birth_seq), Status(); };
    if (Status read = tier_->survivors(acks, visit, soon()); !read)
      return "the journal answers " + describe(read);
    auto lsn = tier_->last_lsn(soon());
    if (!lsn || *lsn < lsn_) return "the journal went back";
    for (std::uint64_t seq : pushed_)
      if (!maybe_acked_.contains(seq) && !live.contains(seq)) return "lost: item " + std::to_string(seq);
    for (std::uint64_t seq : acked_)
      if (live.contains(seq)) return "back after its ack: item " + std::to_string(seq);
    for (std::uint64_t seq : live)
      if (!maybe_pushed_.contains(seq)) return "never pushed: item " + std::to_string(seq);
    for (std::uint64_t seq : dead)
      if (!maybe_acked_.contains(seq)) return "never acked: item " + std::to_string(seq);
    return {};
  }

  const std::string folder_;
  Random random_;
  std::unique_ptr<Tier> tier_;
  bool declared_ = false;
  std::uint64_t next_ = 1, content_ = 0, lsn_ = 0;
  std::set<std::uint64_t> pushed_, maybe_pushed_, acked_, maybe_acked_, live_;
  Rows rows_;
  std::vector<Rows> history_{Rows()};
  std::size_t safe_ = 0;
};

/// A folder in memory, if there is one: nothing here needs a disk.
std::string fast_folder() { return std::filesystem::exists("/dev/shm") ? "/dev/shm" : "/tmp"; }

/// One story with the power cut at that call of its disk. Empty: nothing is wrong.
std::string cut_at(std::uint64_t call, std::uint64_t seed, const std::string& lie = "") {
  TestFolder folder(fast_folder());
  PowerDisk::reset(seed);
  PowerDisk::lie_about(lie);
  PowerDisk::arm(call);
  Story story(folder.path(), seed);
  story.run();
  PowerDisk::power_on();
  return story.found();
}

/// Calls of the disk in the whole story.
std::uint64_t length_of(std::uint64_t seed) {
  TestFolder folder(fast_folder());
  PowerDisk::reset(seed);
  Story story(folder.path(), seed);
  story.run();
  EXPECT_EQ(story.found(), "");
  return PowerDisk::calls();
}

TEST(TierPower, WhatWasPromisedIsThereAfterACutAnywhere) {
  WITH_SEED(seed);
  Random random(seed);
  std::uint64_t cuts = number_from("HEADPOND_POWER_CUTS", 200);
  for (std::uint64_t i = 0; i < cuts && !testing::Test::HasFailure(); i++) {
    std::uint64_t story = seed + i / 10, calls = length_of(story);  // ten cuts a story
    for (; i < cuts; i++) {
      std::uint64_t call = random.below(calls + 1);
      EXPECT_EQ(cut_at(call, story), "") << "story " << story << " cut at call " << call << " of " << calls;
      if (i % 10 == 9) break;
    }
  }
}

// The test of the test: with a disk that lies about the pages' syncs a barrier is none, and that is found.
TEST(TierPower, ADiskThatLiesAboutSyncsIsFoundOut) {
  std::string found;
  for (std::uint64_t seed = 1; seed <= 100 && found.empty(); seed++) {
    std::uint64_t calls = length_of(seed);
    for (std::uint64_t part = 5; part < 10 && found.empty(); part++)
      found = cut_at(calls * part / 10, seed, part % 2 ? "spill.db" : "journal.db");
  }
  EXPECT_NE(found, "");
}

TEST(TierPower, AFailedSyncIsAnErrorOnceAndTheFileIsCheckpointedAnew) {
  TestFolder folder(fast_folder());
  PowerDisk::reset(1);
  TierOptions options{.folder = folder.path(), .create = true, .expected = {}, .vfs = PowerDisk::vfs};
  auto tier = must(open_tier(options, soon()));
  must(tier->declare(names_of(kStream), soon()));
  must(store_one(*tier, page_of(kStream, 1, 1, "stored before")));
  must(commit_all(*tier, {push_of(kStream, 1, "committed before")}));

  PowerDisk::fail_syncs(1);
  auto failed = commit_all(*tier, {push_of(kStream, 2, "in doubt")});
  EXPECT_ANSWER(system, failed);
  EXPECT_THAT(failed.status().text(), testing::HasSubstr("journal.db"));
  EXPECT_EQ(tier->figures().failed_syncs, 1u);
  std::uint64_t before = tier->figures().checkpoints;
  EXPECT_OK(commit_all(*tier, {push_of(kStream, 3, "after")}));
  EXPECT_EQ(tier->figures().checkpoints, before + 1);

  PowerDisk::fail_syncs(1);
  EXPECT_ANSWER(system, tier->barrier(soon()));
  EXPECT_EQ(tier->figures().failed_syncs, 2u);
  EXPECT_OK(tier->barrier(soon()));
  EXPECT_EQ(must(tier->load(kStream, 1, soon())).bytes, "stored before");

  PowerDisk::fail_syncs(3);  // the disk goes on failing: so does every call, until it is well
  EXPECT_ANSWER(system, commit_all(*tier, {push_of(kStream, 4, "in doubt")}));
  EXPECT_ANSWER(system, commit_all(*tier, {push_of(kStream, 4, "in doubt")}));
  EXPECT_ANSWER(system, commit_all(*tier, {push_of(kStream, 4, "in doubt")}));
  EXPECT_OK(commit_all(*tier, {push_of(kStream, 5, "well again")}));
  auto left = survivors_of(*tier);
  for (std::uint64_t seq : {1, 3, 5}) {
    std::string begin = "push 1:" + std::to_string(seq) + " ";
    EXPECT_TRUE(std::any_of(left.begin(), left.end(), [&](const std::string& text) {
      return text.starts_with(begin);
    })) << seq;
  }
}

}  // namespace
