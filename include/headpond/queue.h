// Queue: items that are each claimed by one worker at a time, and gone when acked.
//
//   push -> READY -> claim -> CLAIMED -> ack -> gone
//             ^                  |
//             +-- nack, lease over, worker dead ;  after max_attempts, or bury(): dead letters
//
// At least once, fenced: an item whose push returned is delivered until one ack returned ok; a claimer that lost its claim (killed, lease
// over) cannot ack it. Order is first in, first out within a priority; an item that comes back keeps its place.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "headpond/export.h"
#include "headpond/options.h"
#include "headpond/status.h"

namespace headpond {

namespace internal {
class Attachment;
class Stream;
struct ClaimAccess;
}  // namespace internal

/// Names an item for its whole life, also when it is retried later, buried and redriven. Never used again in its queue. With priority 0
/// and no delay the value is the seq: 1, 2, 3, ...
struct ItemId {
  std::uint64_t value = 0;
  /// The lane it was born in (0 to 7: its priority; 8: delayed; 9: restored as a dead letter), and its seq there, from 1.
  int lane() const noexcept { return static_cast<int>(value >> 60); }
  std::uint64_t seq() const noexcept { return value & ((1ULL << 60) - 1); }
  friend auto operator<=>(const ItemId&, const ItemId&) = default;
};

/// A worker's hold on one item. Move-only; a Claim that goes out of scope unsettled is nacked. May be settled by another thread than the
/// one that claimed, one thread at a time. Must not outlive the Pond: what is unsettled when the pond closes goes back to the queue.
class HEADPOND_API Claim {
 public:
  /// A claim of nothing, as if settled, to assign to.
  Claim() noexcept = default;
  /// Only the library has the key; public, so that a vector can make one in place.
  class Key {
    friend struct internal::ClaimAccess;
    Key() = default;
  };
  Claim(Key, internal::Attachment* pond, std::uint64_t binding, std::uint64_t reference, std::uint64_t word,
        std::uint32_t offset, std::int16_t hold, std::uint8_t lane, bool shared_hold, Bytes payload) noexcept
      : pond_(pond),
        binding_(binding),
        reference_(reference),
        word_(word),
        offset_(offset),
        hold_(hold),
        lane_(lane),
        shared_hold_(shared_hold),
        payload_(payload) {}
  Claim(Claim&& other) noexcept { take(other); }
  Claim& operator=(Claim&& other) noexcept {
    if (this == &other) return *this;
    if (pond_) give_back();
    take(other);
    return *this;
  }
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;
  ~Claim() {
    if (pond_) give_back();
  }

  /// The item's bytes, read in place; valid until this claim is settled.
  Bytes payload() const noexcept { return payload_; }
  /// Found by a walk over the page: up to a microsecond. REQUIRES: not settled.
  ItemId id() const noexcept;
  int priority() const noexcept { return lane_; }
  /// Claims of this item so far, this one included, from 1; and how many of them ended with the death of the process.
  std::uint32_t attempts() const noexcept { return static_cast<std::uint32_t>(word_ >> 16 & 0xffff); }
  std::uint32_t crashes() const noexcept { return static_cast<std::uint32_t>(word_ >> 32 & 0xff); }

  /// Done: the item is gone. `fenced` if the claim was lost meanwhile: then another has it, or had it. Sleeps only where it is to be durable: then
  /// it returns once SQLite has it, or ok and `memory` with the cause. Any other error: nothing happened, and the claim stands.
  Status ack();
  Status ack(const AckOptions& options);
  /// Give it back, at its old place, or after a delay. `fenced` as above; another error with a delay: it went back without one. A delay makes room as a push does.
  Status nack(const NackOptions& options = {});
  /// The claim is ours until at least now + lease, 1 ms to 30 days. `fenced` if it was lost.
  Status extend(milliseconds lease);
  /// To the dead letters, with a reason of at most 1,024 bytes. `fenced` as above; any other error leaves the claim as it is. Makes room as a push does.
  Status bury(Bytes reason);

 private:
  friend struct internal::ClaimAccess;
  void give_back() noexcept;
  void take(Claim& other) noexcept {
    pond_ = std::exchange(other.pond_, nullptr);
    binding_ = other.binding_, reference_ = other.reference_, word_ = other.word_, offset_ = other.offset_;
    hold_ = other.hold_, lane_ = other.lane_, shared_hold_ = other.shared_hold_, payload_ = other.payload_;
  }

  internal::Attachment* pond_ = nullptr;  // null: settled or moved from
  std::uint64_t binding_ = 0;             // the stream, in one life
  std::uint64_t reference_ = 0;           // the page, in one life
  std::uint64_t word_ = 0;                // the exact record word of this claim: the fence
  std::uint32_t offset_ = 0;
  std::int16_t hold_ = -1;  // hold pin on the page; -1: the payload is a copy of our own
  std::uint8_t lane_ = 0;
  bool shared_hold_ = false;
  Bytes payload_;
};

/// Room for one item, written in place. Abandoned if it goes out of scope before commit(). Must not outlive the Pond.
class HEADPOND_API Reservation {
 public:
  Reservation(Reservation&& other) noexcept;
  Reservation& operator=(Reservation&& other) noexcept;
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;
  ~Reservation();
  /// The room; any content until it is written.
  std::span<char> data() const noexcept { return data_; }
  ItemId id() const noexcept { return id_; }
  /// Everybody can see it from now on. Cannot fail. While it is not committed, a log's readers end before it.
  ItemId commit() noexcept;

 private:
  friend struct internal::ClaimAccess;
  Reservation() = default;

  internal::Attachment* pond_ = nullptr;  // null: committed or moved from
  std::uint64_t binding_ = 0;
  std::uint64_t reference_ = 0;
  std::uint64_t word_ = 0;
  std::uint64_t ids_before_ = 0;
  std::uint32_t offset_ = 0;
  std::int16_t hold_ = -1;
  std::uint8_t lane_ = 0;
  ItemId id_;
  std::span<char> data_;
};

/// One item as peek and dead() show it: a copy.
struct Item {
  ItemId id;
  int priority = 0;
  std::uint32_t attempts = 0;
  std::uint32_t crashes = 0;
  std::string payload;
};

enum class Cause : std::uint8_t { buried, max_attempts };

struct DeadItem : Item {
  Cause cause = Cause::buried;
  std::string reason;    // what bury() said
  std::int32_t pid = 0;  // the process that buried it, or whose death was the last one counted; 0: unknown
  int signal = 0;        // that process's signal if known, else 0
  std::chrono::system_clock::time_point at;  // when it was buried
};

/// One item of a queue in its place: what a visitor sees, and what restore_many() makes an item of.
struct WaitingItem {
  enum class Where : std::uint8_t { ready, claimed, delayed, dead } where = Where::ready;
  ItemId id;  // restore_many() gives another
  int priority = 0;
  std::uint32_t attempts = 0;  // claims so far; the present one, too, of an item that is claimed
  std::uint32_t crashes = 0;
  Bytes payload;
  /// Delayed: it is ready from then on. Dead: when it was buried.
  std::chrono::system_clock::time_point at;
  Cause cause = Cause::buried;  // these four of dead ones, as in DeadItem
  Bytes reason;
  std::int32_t pid = 0;
  int signal = 0;
};

/// Looks at an item whose bytes are valid until it returns; false ends the walk. It may take its time and may sleep: one page is kept meanwhile. It must
/// not call the library for this pond, which has one page a thread to work on, and must not throw.
using ItemVisitor = std::function<bool(const WaitingItem&)>;

/// Figures of one moment; other processes go on meanwhile.
struct QueueStats {
  std::uint64_t ready = 0;          // items, all priorities
  std::uint64_t claimed = 0;        // items
  std::uint64_t delayed = 0;        // items
  std::uint64_t dead = 0;           // items
  std::uint64_t spilled = 0;        // ready and dead ones of these whose pages are in the durable tier
  std::uint64_t spilled_bytes = 0;  // of their payloads
  std::uint64_t gaps = 0;           // runs of pages that are there, with pages in memory between them
  std::uint64_t payload_bytes = 0;  // of all of these
  std::uint64_t page_bytes = 0;     // segment memory of its pages
  // ids given so far in its present stream; an item that comes back after a delay or by redrive takes
  // another
  std::uint64_t pushed = 0;
  milliseconds oldest_age{0};  // of the oldest ready item, 0 if none
  bool paused = false;
  bool draining = false;
};

/// A handle on a named queue. Cheap to copy, safe to share between threads; each operation may be called from any thread or process.
/// Nothing here sleeps unless its comment says so. After a fork the child's calls answer `forked`.
class HEADPOND_API Queue {
 public:
  /// Appends one item of 0 bytes to 1 GiB (and to what the segment holds). `full`: nothing happened. Sleeps only in a full pond: with
  /// on_full = block, or on the disk with spill; and where it is to be durable: then it returns once SQLite has it, sharing a commit with all who
  /// wait for one. ok and `memory` with a cause: pushed, but not on disk. Items of over 16 KiB have a commit each.
  Result<ItemId> push(Bytes item);
  Result<ItemId> push(Bytes item, const PushOptions& options);
  /// All or nothing, any number; the ids are consecutive and the first one is returned. `invalid` for an empty span.
  Result<ItemId> push_many(std::span<const Bytes> items, const PushOptions& options = {});
  /// Zero copy: room for an item of exactly this size. No delay.
  Result<Reservation> reserve(std::size_t size, int priority = 0);

  /// The next ready item. Waits for one up to `timeout` (0: not at all, and then `empty`). `timeout`: none came, or a stopped process holds
  /// one up, or the queue was paused all the time. `paused`: it is, and the time-out is 0. A waiting claim makes the queue if there is none.
  Result<Claim> claim(milliseconds timeout = milliseconds(0));
  /// Up to `most` items that are ready now, after waiting for the first. At least one, or the status.
  Result<std::vector<Claim>> claim_many(std::size_t most, milliseconds timeout = milliseconds(0));
  /// claim and ack in one: the item is gone when this returns; a process killed inside either has it or leaves it.
  Result<std::string> pop(milliseconds timeout = milliseconds(0));
  Result<std::vector<std::string>> pop_many(std::size_t most, milliseconds timeout = milliseconds(0));
  /// Acks several claims of this queue; returns how many were ours (the others were fenced).
  std::size_t ack_many(std::span<Claim> claims);
  /// The same with one commit for all. What can't be written stands as a claim: `memory`, with the cause.
  Result<std::size_t> ack_many(std::span<Claim> claims, const AckOptions& options);

  /// Ready items in the order in which they would be claimed, copied, without claiming.
  Result<std::vector<Item>> peek(std::size_t most = 1) const;
  /// Dead letters, oldest first.
  Result<std::vector<DeadItem>> dead(std::size_t most = SIZE_MAX) const;
  /// Dead letters back to their priority's end, attempts and crashes 0; returns how many. Makes room as a push does.
  Result<std::uint64_t> redrive(std::size_t most = SIZE_MAX);
  /// Waits until what was posted of this item and of those before it in its lane is durable: pushes, moves, acks. What was pushed for memory alone stays
  /// there. Sleeps, for durable_timeout at most; `timeout` then.
  Status wait_durable(ItemId id) const;
  /// Takes an item out wherever it waits (ready, delayed or dead). `busy`: a worker has it. `not_found`: gone or never there.
  Status cancel(ItemId id);

  /// Visits what waits, without claiming it or making it resident: spilled items are read from the disk page by page, and memory is taken for one page,
  /// however many there are. Ready items and, at their places, claimed ones, in the order in which they would be claimed; delayed ones and dead letters
  /// each in the order in which they came there. Others may go on meanwhile; what they push or take may be seen or not. ok also where the visitor
  /// ended it, and where there is no such queue. Sleeps on the disk alone.
  Status for_each_ready(const ItemVisitor& visit) const;
  Status for_each_delayed(const ItemVisitor& visit) const;
  Status for_each_dead(const ItemVisitor& visit) const;
  /// All of these: delayed, then ready, then dead ones, then what came to each meanwhile. What stays where it is is seen once; what others move once
  /// during the walk (retried later, due, buried, redriven) is seen at least once, perhaps twice with the same id.
  Status for_each_item(const ItemVisitor& visit) const;
  /// Puts items as they were elsewhere behind what is here, all or nothing, in their order and with their attempts: delayed ones to their own time,
  /// dead letters with all that is known of them, which no limit of the queue holds up; `claimed` ones become ready. All of one place, and ready
  /// ones of one priority, else `invalid`, as are a time over 365 days ahead, over 65,535 attempts and over 255 crashes. The ids are consecutive and the first
  /// one is returned. Answers and sleeps as push_many() does; safe from every thread and process.
  Result<ItemId> restore_many(std::span<const WaitingItem> items, const AppendOptions& options = {});

  /// Ready items in all priorities, as of one moment.
  Result<std::uint64_t> size() const;
  Result<QueueStats> stats() const;
  /// Takes every item out, claimed ones too (their acks are then `fenced`), delayed and dead ones as well; returns how many. What was
  /// pushed before is gone, ids go on, handles stay good.
  /// An item that another process is pushing or claiming at that moment may be taken without being counted.
  Result<std::uint64_t> clear();

  /// Deliver nothing until resume(). Pushing goes on. Outlives processes and the host as configure() does; resume() and drain(), too.
  Status pause();
  Status resume();
  /// Take no more items (push answers `draining`) and wait until no item is ready, delayed or claimed; `timeout` if some are left then.
  /// The queue stays draining; resume() ends that, too. Whatever the answer is, its durability and cause are those of the draining. Sleeps.
  Status drain(milliseconds timeout);

  /// A lease is for the claims that are taken from then on. Clears leave settings as they are; who drops the queue drops them.
  ///
  /// Settings hold in every process from then on, and outlive them. If the pond has a durable tier they are on disk when this returns, and outlive the
  /// host; without, they are saved when something is spilled, parked or durable first, or by flush(). ok and `memory` with a cause: it holds, but is not on
  /// disk; flush(), gc(), a maintenance thread, or the end of this process tries again. Sleeps on the disk, for Options::durable_timeout at most.
  Status configure(const QueueOptions& options);
  Result<QueueOptions> options() const;

 private:
  friend class Scope;
  friend class Log;
  Result<Claim> claim_generally(milliseconds timeout);
  explicit Queue(std::shared_ptr<internal::Stream> stream) : stream_(std::move(stream)) {}
  std::shared_ptr<internal::Stream> stream_;
};

}  // namespace headpond
