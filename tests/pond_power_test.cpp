// The power goes at any write or sync of a pond's durable tier, and the segment with it. The pond that is opened next has every item and
// record that was said to be durable and whose ack was never begun, once, unharmed and in order; none whose ack was said to be durable; and
// none that nobody pushed. Its cursors and settings are those that were said to be durable, or later ones.
//
// HEADPOND_POWER_CUTS: cuts, each in a story of its own dice; HEADPOND_TEST_SEED: the dice of a failure again.
#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "src/attachment.h"
#include "src/spill.h"
#include "src/tier_side.h"
#include "support/power_disk.h"
#include "support/test_pond.h"
#include "support/test_tier.h"

namespace {

using namespace support;

constexpr Durability kDurable = Durability::durable;
constexpr int kPriorities = 2;

Options small() {
  Options options;
  options.limit_bytes = 1 << 20, options.max_page_bytes = 4096;
  options.durable_timeout = stretched(milliseconds(60'000));
  return options;
}

struct Item {
  int priority = 0;
  bool durable = false;  // its push said so
  bool ack_begun = false, acked = false, moved = false;
};

/// One life of a pond, what it was told, and what is wrong in the next life.
class Story {
 public:
  Story(const TestPond& test, std::uint64_t seed) : test_(test), random_(seed) {}

  /// Until the end, or until the power goes.
  void live() {
    pond_.emplace(test_.open());
    attachment_ = must(internal::Attachment::open(test_.name(), test_.options(), false));
    for (int step = 0; step < 60 && !PowerDisk::is_off(); step++) one_step();
    attachment_.reset();
    pond_.reset();
  }

  /// Empty: nothing is wrong.
  std::string found() {
    auto opened = Pond::open(test_.name(), test_.options());
    if (!opened) return "opening answers " + describe(opened.status());
    pond_.emplace(std::move(*opened));
    Result<Findings> findings = pond_->verify();
    if (!findings || !findings->clean())
      return "verify finds " + (findings ? findings->problems[0] : describe(findings.status()));
    std::string trouble = items_found();
    if (trouble.empty()) trouble = records_found();
    if (trouble.empty()) trouble = settings_found();
    if (trouble.empty() &&
        queue().push("goes on", {.durability = kDurable}).status().durability() != kDurable)
      trouble = "it does not go on";
    pond_.reset();
    return trouble;
  }

 private:
  Queue queue() const { return pond_->scope("scope").queue("work"); }
  Log log() const { return pond_->scope("scope").log("audit"); }

  /// While there is power everything works, and is as durable as it was asked to be.
  bool went_well(const Status& status, Durability asked, const char* what) {
    bool good = status.ok() && (asked != kDurable || status.durability() == kDurable);
    if (!good && !PowerDisk::is_off())
      ADD_FAILURE() << what << " answers " << describe(status) << ", cause " << name(status.cause());
    return good;
  }

  void one_step() {
    switch (random_.below(14)) {
      case 0:
      case 1:
      case 2: return push(1 + random_.below(4), kDurable);
      case 3: return push(20 + random_.below(20), Durability::memory);
      case 4:
      case 5:
      case 6: return ack();
      case 7: return move();
      case 8:
      case 9: return spill();
      case 10: return append();
      case 11: return commit_cursor();
      case 12: return configure();
      default: return random_.one_in(2) ? trim_journal_soon() : flush();
    }
  }

  void push(std::uint64_t count, Durability durability) {
    std::vector<std::string> texts;
    const int priority = static_cast<int>(random_.below(kPriorities));
    const std::uint64_t first = next_;
    for (; next_ < first + count; next_++) {
      bool large = durability == kDurable && random_.one_in(20);
      texts.push_back(patterned(next_, large ? 40'000 : 8 + random_.below(300)));
      items_[next_].priority = priority;
    }
    std::vector<Bytes> bytes(texts.begin(), texts.end());
    auto id = queue().push_many(bytes, {.priority = priority, .durability = durability});
    if (!went_well(id.status(), durability, "a push")) return;
    for (std::uint64_t n = first; n < next_; n++) items_[n].durable = durability == kDurable;
  }
  void ack() {
    for (std::uint64_t more = 1 + random_.below(8); more > 0 && !PowerDisk::is_off(); more--) {
      auto claim = queue().claim();
      if (!claim) return;
      Item& item = items_.at(number_of(claim->payload()));
      item.ack_begun = true;
      const Durability asked = random_.one_in(3) ? Durability::memory : kDurable;
      Status acked = claim->ack({.durability = asked});
      if (went_well(acked, asked, "an ack")) item.acked = acked.durability() == kDurable;
    }
  }
  void move() {
    auto claim = queue().claim();
    if (!claim) return;
    items_.at(number_of(claim->payload())).moved = true;
    Status moved = random_.one_in(2) ? claim->bury("") : claim->nack({.delay = milliseconds(1)});
    (void)went_well(moved, Durability::memory, "a move");
    if (random_.one_in(2)) (void)queue().redrive();
  }
  void spill() {
    internal::Spilled out;
    (void)went_well(internal::spill_some(*attachment_->thread(), 1 << (12 + random_.below(5)), out),
                    Durability::memory, "a spill");
    if (random_.one_in(2)) attachment_->tier_side().erase_forgotten(*attachment_->thread(), true);
  }
  void append() {
    const std::uint64_t number = 1'000'000 + records_.size();
    records_[number] = 0;
    auto seq = log().append(patterned(number, 8 + random_.below(2000)), {.durability = kDurable});
    if (went_well(seq.status(), kDurable, "an append")) records_[number] = *seq;
  }
  void commit_cursor() {
    if (random_.one_in(6)) {
      cursor_.least = 0, cursor_.most = std::max<std::uint64_t>(cursor_.most, 1);
      Status dropped = log().drop_cursor("reader");
      if (dropped.code() == Code::not_found || went_well(dropped, Durability::memory, "a drop of a cursor"))
        cursor_.most = 0;
      return;
    }
    const Durability asked = random_.one_in(3) ? Durability::memory : kDurable;
    auto committed = log().commit("reader", cursor_.most = ++place_, asked);
    if (went_well(committed.status(), asked, "a commit of a cursor") &&
        committed.status().durability() == kDurable)
      cursor_.least = place_;
  }
  /// While there is a durable tier: else it is saved with whatever makes one.
  void configure() {
    Status set = queue().configure({.max_attempts = static_cast<std::uint32_t>(attempts_.most = ++place_)});
    if (went_well(set, Durability::memory, "configure") && set.durability() == kDurable)
      attempts_.least = place_;
  }
  /// The next commit finds a trim due.
  void trim_journal_soon() {
    attachment_->segment().header().commits_since_trim = 1 << 20;
    attachment_->segment().header().bytes_since_trim = 1 << 30;
  }
  void flush() { (void)went_well(pond_->flush(), Durability::memory, "a flush"); }

  // -------------------------------------------------------------------------------------------------------- the next life

  std::string items_found() {
    std::map<std::uint64_t, int> count;
    std::array<std::uint64_t, kPriorities> last{};
    (void)queue().redrive();
    for (;;) {
      auto claim = queue().claim();
      if (!claim) {
        if (claim.code() != Code::empty) return "a claim answers " + describe(claim.status());
        if (must(queue().stats()).delayed == 0) break;
        (void)queue().claim(milliseconds(5));  // given back at once: only to wait
        continue;
      }
      const std::uint64_t n = number_of(claim->payload());
      auto item = items_.find(n);
      if (item == items_.end()) return "never pushed: item " + std::to_string(n);
      count[n]++;
      if (!item->second.moved) {
        std::uint64_t& before = last[static_cast<std::size_t>(item->second.priority)];
        if (n < before) return "out of order: item " + std::to_string(n) + " after " + std::to_string(before);
        before = n;
      }
      if (Status acked = claim->ack(); !acked) return "an ack answers " + describe(acked);
    }
    for (const auto& [n, item] : items_) {
      if (count[n] > 1) return "twice: item " + std::to_string(n);
      if (item.durable && !item.ack_begun && !count[n]) return "lost: item " + std::to_string(n);
      if (item.acked && count[n]) return "back after its ack: item " + std::to_string(n);
    }
    return {};
  }
  std::string records_found() {
    std::map<std::uint64_t, std::uint64_t> there;
    std::uint64_t last = 0;
    for (const auto& [seq, bytes] : read_all(log())) {
      const std::uint64_t number = number_of(bytes);
      if (!records_.contains(number)) return "never appended: record " + std::to_string(seq);
      if (number <= last) return "out of order: record " + std::to_string(seq);
      there[last = number] = seq;
    }
    for (const auto& [number, seq] : records_)
      if (seq && !there.contains(number)) return "lost: record " + std::to_string(seq);
    return {};
  }

  std::string settings_found() {
    auto between = [](const char* what, std::uint64_t found, const Range& range) {
      if (range.least <= found && found <= range.most) return std::string();
      return std::string(what) + " is " + std::to_string(found) + ", and was told to be at least " +
             std::to_string(range.least) + ", at most " + std::to_string(range.most);
    };
    std::string wrong = between("the cursor", must(log().committed("reader")), cursor_);
    return wrong.empty() ? between("the limit", must(queue().options()).max_attempts, attempts_) : wrong;
  }

  /// What was told to be durable, and what was begun.
  struct Range {
    std::uint64_t least = 0, most = 0;
  };

  const TestPond& test_;
  Random random_;
  Range cursor_, attempts_;
  std::uint64_t place_ = 1000;  // more attempts than anything here takes
  std::optional<Pond> pond_;
  std::shared_ptr<internal::Attachment> attachment_;
  std::uint64_t next_ = 1;
  std::map<std::uint64_t, Item> items_;
  std::map<std::uint64_t, std::uint64_t> records_;  // number -> seq, if it was said to be durable
};

struct Cut {
  std::uint64_t call = PowerDisk::never;   // of the disk, in the first life
  std::uint64_t again = PowerDisk::never;  // in the rebuild
  std::string lie = {};
};

/// One story and its end. Empty: nothing is wrong.
std::string told(const Cut& cut, std::uint64_t seed, std::uint64_t* calls = nullptr) {
  TestFolder folder(std::filesystem::exists("/dev/shm") ? "/dev/shm" : "/tmp");  // nothing here needs a disk
  Options options = small();
  options.state_home = folder.path();
  TestPond test(options);
  PowerDisk::reset(seed);
  PowerDisk::make_default();
  PowerDisk::lie_about(cut.lie);
  PowerDisk::arm(cut.call);
  Story story(test, seed);
  story.live();
  if (calls) *calls = PowerDisk::calls();
  ::unlink(test.segment_path().c_str());
  PowerDisk::power_on();
  if (cut.again != PowerDisk::never) {
    PowerDisk::arm(cut.again);
    auto opened = Pond::open(test.name(), test.options());
    if (!opened && !PowerDisk::is_off()) return "a rebuild answers " + describe(opened.status());
    opened = Code::closed;
    ::unlink(test.segment_path().c_str());
    PowerDisk::power_on();
  }
  return story.found();
}

TEST(PondPower, WhatWasSaidToBeDurableIsThereAfterACutAnywhere) {
  WITH_SEED(seed);
  Random random(seed);
  const std::uint64_t cuts = number_from("HEADPOND_POWER_CUTS", 120);
  watchdog(std::chrono::seconds(300 + cuts / 4));
  for (std::uint64_t i = 0, calls = 0; i < cuts && !HasFailure(); i++) {
    const std::uint64_t story = seed + i / 10;  // ten cuts a story
    if (i % 10 == 0) {
      EXPECT_EQ(told({}, story, &calls), "") << "story " << story << ", whole";
    }
    Cut cut{.call = random.below(calls + 1)};
    if (random.one_in(3)) cut.again = random.below(100);
    EXPECT_EQ(told(cut, story), "") << "story " << story << " cut at call " << cut.call << " of " << calls
                                    << ", and in the rebuild at " << cut.again;
  }
}

// The test of the test: with a disk that lies about the journal's syncs what was said to be durable was not.
TEST(PondPower, ADiskThatLiesAboutSyncsIsFoundOut) {
  std::string found;
  for (std::uint64_t seed = 1; seed <= 50 && found.empty(); seed++) {
    std::uint64_t calls = 0;
    EXPECT_EQ(told({}, seed, &calls), "");
    for (std::uint64_t part = 5; part < 10 && found.empty(); part++)
      found = told({.call = calls * part / 10, .lie = "journal.db"}, seed);
  }
  EXPECT_NE(found, "");
}

}  // namespace
