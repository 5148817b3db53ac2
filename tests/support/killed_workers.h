// Processes that push, take, append and read in a pond while random ones of them are killed and replaced; each item and each record is accounted
// for in memory that survives them, and nothing but what a killed process had in hand may be in doubt.
//
// What the processes have to survive (spilling, parking) is the test's own: it derives from KilledWorker, gives each role its work in run(), and
// counts that in `left_memory`.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "complaints.h"
#include "src/attachment.h"
#include "src/leftovers.h"
#include "src/tier_side.h"
#include "test_pond.h"

namespace support {

constexpr int kPushers = 2;  // roles 0 and 1

struct Ledger : Complaints {
  static constexpr std::uint64_t kMost = 1 << 26;  // items of a pusher; what is not used takes no memory

  std::uint64_t backlog = 0;                                     // items, and records, that wait at the most
  std::atomic<std::uint64_t> begun[kPushers], pushed[kPushers];  // items of that pusher: asked for, confirmed
  std::atomic<std::uint64_t> acked{0}, appended{0}, read{0};
  std::atomic<std::uint64_t> left_memory{0};  // pages that were spilled, streams that were parked
  std::atomic<bool> stop{false};
  std::atomic<std::uint8_t> state[kPushers][kMost];  // 1: confirmed, 2: being acked, 4: acked

  /// What is in an item: who pushed it, and his count.
  static constexpr std::uint64_t named(int pusher, std::uint64_t n) {
    return static_cast<std::uint64_t>(pusher) << 32 | n;
  }
  bool knows(std::uint64_t pusher, std::uint64_t n) const { return pusher < kPushers && n < begun[pusher]; }

  /// At the end, all that is left in a queue: nothing that was acked, nothing twice.
  void take_the_rest(Queue queue) {
    for (std::uint64_t number : pop_numbers(queue)) {
      std::uint64_t pusher = number >> 32, n = number & 0xffffffff;
      ASSERT_TRUE(knows(pusher, n)) << "an item that nobody pushed: " << number;
      EXPECT_EQ(state[pusher][n] & 4, 0) << "item " << n << " of pusher " << pusher << " came after its ack";
      state[pusher][n] |= 4;
    }
  }
  /// After that: confirmed, and not acked by one who was killed in the ack.
  std::string lost() const {
    std::string all;
    for (int pusher = 0; pusher < kPushers; pusher++)
      for (std::uint64_t n = 0; n < begun[pusher]; n++)
        if (state[pusher][n] == 1)
          all += " " + std::to_string(n) + " of pusher " + std::to_string(pusher) + ";";
    return all;
  }
};

class KilledWorker {
 protected:
  /// The item of each pusher that was claimed last of those that were never claimed before.
  struct Order {
    std::array<std::int64_t, kPushers> last{-1, -1};
  };

  KilledWorker(const TestPond& test, Ledger& ledger, int role, std::uint64_t seed)
      : ledger_(ledger), role_(role), random_(seed), pond_(test.open()) {}

  void nap() { ::usleep(200); }
  /// Is it ok? All but what the work may well meet is a complaint.
  bool known(const Status& status) {
    const Code code = status.code();
    if (code == Code::ok) return true;
    const bool usual = code == Code::empty || code == Code::timeout || code == Code::full;
    if (!usual && !(code == Code::busy && may_be_busy_))
      ledger_.complain("role %d: answered %s", role_, describe(status).c_str());
    return false;
  }

  /// The number of this pusher's next item; none while enough of them wait.
  std::optional<std::uint64_t> next_item() {
    const std::uint64_t waiting = ledger_.pushed[0] + ledger_.pushed[1] - ledger_.acked;
    if (waiting > ledger_.backlog && waiting < Ledger::kMost) return nap(), std::nullopt;
    const std::uint64_t n = ledger_.begun[role_]++;
    if (n >= Ledger::kMost) throw std::runtime_error("too many items for the ledger");
    return n;
  }
  void push(Queue queue, std::uint64_t n, std::uint64_t most_bytes, PushOptions how = {}) {
    auto id = queue.push(patterned(Ledger::named(role_, n), 8 + random_.below(most_bytes)), how);
    if (known(id.status())) ledger_.state[role_][n].fetch_or(1), ledger_.pushed[role_]++;
  }

  /// Acks it, most of the time; it is one that was pushed, is not acked, and comes in its pusher's order.
  void settle(Claim& claim, Order& order) {
    const std::uint64_t number = number_of(claim.payload()), n = number & 0xffffffff, pusher = number >> 32;
    if (!ledger_.knows(pusher, n))
      return ledger_.complain("an item that nobody pushed: %lx", static_cast<unsigned long>(number));
    if (ledger_.state[pusher][n] & 4)
      ledger_.complain("item %lu of pusher %lu came after its ack", static_cast<unsigned long>(n),
                       static_cast<unsigned long>(pusher));
    // First in, first out: what was never claimed before comes in its pusher's order.
    if (claim.attempts() == 1) {
      std::int64_t& last = order.last[pusher];
      if (static_cast<std::int64_t>(n) <= last)
        ledger_.complain("item %lu of pusher %lu came after %ld", static_cast<unsigned long>(n),
                         static_cast<unsigned long>(pusher), static_cast<long>(last));
      last = static_cast<std::int64_t>(n);
    }
    if (random_.one_in(20)) return;  // nacked
    ledger_.state[pusher][n].fetch_or(2);
    const Status acked = claim.ack();
    if (!acked) return ledger_.complain("an ack answered %s", describe(acked).c_str());
    ledger_.state[pusher][n].fetch_or(4), ledger_.acked++;
  }

  /// False while enough records wait for the reader.
  bool append() {
    if (ledger_.appended > ledger_.read + ledger_.backlog) return nap(), false;
    auto seq = log_.append(patterned(kRecord, 8 + random_.below(300)));
    if (known(seq.status())) ledger_.appended = *seq;
    return true;
  }
  /// From the first record that is there: every seq, none twice, up to what was confirmed. The scan stays with the caller; the last seq.
  std::uint64_t read_on(std::optional<Scan>& scan) {
    const std::uint64_t sure = ledger_.appended;
    std::uint64_t next = ledger_.read;
    scan.emplace(log_.scan({.after = static_cast<std::int64_t>(next)}));
    while (scan->next()) {
      const unsigned long seq = scan->record().seq;
      if (seq <= next) ledger_.complain("a scan went back to %lu", seq);
      if (number_of(scan->record().payload) != kRecord)
        ledger_.complain("record %lu is not as it was appended", seq);
      next = seq;
    }
    if (known(scan->status()) && next < sure)
      ledger_.complain("a scan ended at %lu, and %lu was confirmed", static_cast<unsigned long>(next),
                       static_cast<unsigned long>(sure));
    return next;
  }
  /// Now and then: half a backlog behind what was read. Then it counts as read.
  void trim_behind(std::uint64_t next) {
    const std::uint64_t kept = ledger_.backlog / 2;
    if (next > kept && random_.one_in(3)) known(log_.trim(next - kept).status());
    ledger_.read = next;
  }

  Ledger& ledger_;
  const int role_;
  bool may_be_busy_ = false;
  Random random_;
  Pond pond_;

 private:
  static constexpr std::uint64_t kRecord = 7;  // what is in all of them
  Log log_ = pond_.scope("log").log("audit");
};

/// A process a role.
template <class Worker>
class KilledWorkers {
 public:
  KilledWorkers(const TestPond& test, Ledger& ledger, int roles, std::uint64_t seed)
      : test_(test), ledger_(ledger), seed_(seed), processes_(static_cast<std::size_t>(roles)) {
    for (int role = 0; role < roles; role++) start(role);
  }
  void kill_and_replace(int role) {
    processes_[static_cast<std::size_t>(role)].kill();
    start(role);
  }
  void stop() {
    ledger_.stop = true;
    for (Process& process : processes_) EXPECT_EQ(process.wait(), 0);
  }

 private:
  void start(int role) {
    const std::uint64_t dice = ++seed_;
    processes_[static_cast<std::size_t>(role)] =
        Process([this, role, dice] { Worker(test_, ledger_, role, dice).run(); });
  }

  const TestPond& test_;
  Ledger& ledger_;
  std::uint64_t seed_;
  std::vector<Process> processes_;
};

/// Of streams that are cleared nothing is left over in the durable tier.
inline void expect_empty_tier(const TestPond& test) {
  auto attachment = must(internal::Attachment::open(test.name(), test.options(), false));
  attachment->tier_side().erase_forgotten(*attachment->thread(), true);
  EXPECT_OK(internal::erase_leftovers(*attachment->thread()));
  auto tier = must(attachment->tier_side().tier(*attachment->thread()));
  EXPECT_EQ(must(tier->streams_with_rows(internal::sys::precise_us() + 1'000'000)).size(), 0u);
}

}  // namespace support
