// A lane, one chain of pages of records, as one operation of one thread sees it; and its pages under a pin.
#pragma once

#include "attachment.h"
#include "headpond/queue.h"
#include "sanitizer.h"
#include "wait.h"

namespace headpond::internal {

constexpr std::uint64_t round8(std::uint64_t bytes) { return (bytes + 7) & ~7ULL; }

/// How a record lies in its page: header, MovedRecord if it moved, its size if that does not fit in the word, payload.
constexpr std::uint64_t record_bytes(std::uint64_t payload, std::uint32_t flags) {
  return kRecordHeader + ((flags & kMoved) ? sizeof(MovedRecord) : 0) + ((flags & kLarge) ? 8 : 0) +
         round8(payload);
}

// What is read here may be zeroed at the same time, and is looked at again afterwards.
#if HEADPOND_THREAD_SANITIZER && defined(__clang__)
#define HEADPOND_READS_UNPINNED __attribute__((disable_sanitizer_instrumentation, noinline))
#elif HEADPOND_THREAD_SANITIZER
#define HEADPOND_READS_UNPINNED __attribute__((no_sanitize("thread"), noinline))
#else
#define HEADPOND_READS_UNPINNED
#endif

/// A word of a page that is not pinned: it may be in another life by now, and be zeroed while we read. For a look only: whoever uses it looks
/// at the page's life again where that stands still.
HEADPOND_READS_UNPINNED inline std::uint64_t glance(const Word& word) {
  return __atomic_load_n(reinterpret_cast<const std::uint64_t*>(&word), __ATOMIC_RELAXED);
}

struct PageView {
  Reference reference;
  PageHeader* header = nullptr;
  char* base = nullptr;
  std::uint64_t bytes = 0;

  explicit operator bool() const { return header != nullptr; }
  Word& word(std::uint64_t offset) const { return *reinterpret_cast<Word*>(base + offset); }
  Word& lease(std::uint64_t offset) const { return *reinterpret_cast<Word*>(base + offset + 8); }
  MovedRecord& moved(std::uint64_t offset) const {
    return *reinterpret_cast<MovedRecord*>(base + offset + kRecordHeader);
  }
  bool holds(std::uint64_t offset) const {
    return offset >= kFirstRecord && offset + 8 <= bytes && offset % 8 == 0;
  }

  /// Bytes up to the next record; 0: damaged.
  [[gnu::always_inline]] std::uint64_t extent(std::uint64_t offset, RecordWord word) const {
    std::uint64_t size = word.size();
    if (word.flags() & (kMoved | kLarge)) [[unlikely]] {
      std::uint64_t at = offset + kRecordHeader + (word.has(kMoved) ? sizeof(MovedRecord) : 0);
      if (word.has(kLarge)) {
        if (at + 8 > bytes) return 0;
        size = *reinterpret_cast<const std::uint64_t*>(base + at);
        if (size > bytes) return 0;
      }
      // A span that was abandoned says its whole length in `size`.
      std::uint64_t all = record_bytes(size, word.flags());
      return offset + all + 8 <= bytes ? all : 0;
    }
    std::uint64_t all = kRecordHeader + round8(size);
    return offset + all + 8 <= bytes ? all : 0;
  }
  /// The payload. REQUIRES: extent() != 0.
  std::span<char> payload(std::uint64_t offset, RecordWord word) const {
    std::uint64_t at = offset + kRecordHeader + (word.has(kMoved) ? sizeof(MovedRecord) : 0);
    std::uint64_t size = word.size();
    if (word.has(kLarge)) [[unlikely]] {  // read again: it may have changed since extent()
      size = *reinterpret_cast<const std::uint64_t*>(base + at), at += 8;
      size = at > bytes ? 0 : size < bytes - at ? size : bytes - at;
    }
    return {base + at, size};
  }
};

/// Fetches, for changing it, the header of a record some way behind this one, which is `extent` bytes long and most likely as long as they
/// are: it was written on another core, and the locked instruction that takes it would wait for its line. For records with a page behind
/// theirs; nearer to the tail it would take the lines of a pusher at work.
inline void prefetch_behind(const char* record, std::uint64_t extent, unsigned records) {
  const std::uint64_t distance = extent <= 128 ? extent * records : extent;
  asm volatile("prefetchw %0" : : "m"(record[distance]));  // never faults
  asm volatile("prefetchw %0" : : "m"(record[distance + 64]));
}

/// What an append does when its records have their ids and nobody can see them yet.
struct BeforeReady {
  virtual void run(std::uint64_t first_id) = 0;

 protected:
  ~BeforeReady() = default;
};

/// Is the descriptor LIVE in the life that the binding names?
inline bool is_live(const StreamWords& stream, Binding binding) {
  return (stream.state.load(std::memory_order_acquire) & ~0xff00ULL) ==
         (binding.generation() << 28 | static_cast<std::uint64_t>(StreamState::live));
}

/// What the records of a lane are.
struct LaneKind {
  bool log = false;
  int number = 0;
  constexpr bool delayed() const { return !log && number == kDelayedLane; }
};

/// Where an operation works. On the stack of one call.
struct Lane {
  ThreadContext& me;
  Segment& segment;
  StreamWords& stream;
  LaneWords& words;
  Binding binding;
  int number;
  bool any_state = false;
  Reference gap;                        // claim: the page before the gap that stopped it
  Reference gap_ahead;                  // claim: it came to this page, behind which a gap begins
  std::uint32_t record_flags = 0;       // append: of its records, besides what their sizes need
  BeforeReady* before_ready = nullptr;  // append
  Status error;                         // detail of the last code that was not ok, if there is any

  Lane(ThreadContext& thread, Binding b, int lane)
      : me(thread),
        segment(thread.pond->segment()),
        stream(segment.stream(b.index())),
        words(stream.lane[lane]),
        binding(b),
        number(lane) {}

  std::uint64_t page_stream() const { return binding.index() | static_cast<std::uint64_t>(number) << 28; }
  /// May the operation go on: is the descriptor LIVE in the life that the binding names? Read after a pin: then what was read from the
  /// descriptor before was this stream's. Who ends, sweeps or reaps a stream works in any state of that life.
  bool current() const {
    std::uint64_t state = stream.state.load(std::memory_order_acquire);
    return state >> 28 == binding.generation() &&
           (any_state || static_cast<StreamState>(state & 0xff) == StreamState::live);
  }

  /// Pins, then validates: true if the page is in the life that the reference names and belongs to this lane. The other side of the fence
  /// is the recycler's membarrier between unlinking and its look at the pins.
  [[gnu::always_inline]] bool pin(Reference r, PageView& out) const {
    if (!r || !segment.backed(r.page())) [[unlikely]]
      return false;
    // what was read from another page before stays before
    if (segment.uses_membarrier())
      me.pins->pin.store(r.page(), std::memory_order_release);
    else
      me.pins->pin.exchange(r.page(), std::memory_order_seq_cst);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    LifeEntry& entry = segment.life(r.page());
    LifeWord life{entry.life.load(std::memory_order_acquire)};
    if (life.generation() != r.generation() || !life.reachable()) [[unlikely]]
      return false;
    char* base = segment.page(r.page());
    auto* header = reinterpret_cast<PageHeader*>(base);
    if (header->stream.load(std::memory_order_relaxed) != page_stream()) [[unlikely]]
      return false;
    out = {r.without_gap(), header, base, segment.page_bytes(r.page())};
    // the straight way may come here, too
    if (std::uint64_t end = r.page() - 1 + out.bytes / kUnit; end > me.backed && segment.uses_membarrier())
        [[unlikely]]
      me.backed = end;
    return true;
  }
  void unpin() const { me.pins->pin.store(0, std::memory_order_release); }

  /// Sets the owner's bit in the page, before the first compare-exchange there: the reaper skips pages without it.
  void mark(const PageView& page) const {
    if (!(page.header->owners.load(std::memory_order_relaxed) & me.owner_bit)) [[unlikely]]
      page.header->owners.fetch_or(me.owner_bit, std::memory_order_seq_cst);
  }
  /// Before the first change that takes a READY record away, or makes ids of none.
  static void disturb(const PageView& page) {
    if (!page.header->disturbed.load(std::memory_order_relaxed)) [[unlikely]]
      page.header->disturbed.store(1, std::memory_order_seq_cst);
  }

  /// A log's followers all want the record; in the delayed lane all must look at the clock again.
  Wake wake_one() const {
    return number == kDelayedLane || (number == 0 && is_log()) ? Wake::all : Wake::one;
  }
  bool is_log() const {
    return (stream.state.load(std::memory_order_relaxed) >> 8 & 0xff) ==
           static_cast<std::uint64_t>(Kind::log);
  }
  LaneKind kind() const { return {is_log(), number}; }
  Code damaged(const PageView& page, std::uint64_t offset, const char* what) {
    error = Status(Code::corruption,
                   "pond " + me.pond->name() + ": stream " + std::to_string(binding.index()) + ", lane " +
                       std::to_string(number) + ", page " + std::to_string(page.reference.page()) + " at " +
                       std::to_string(offset) + ": " + what + "; `headpond verify` shows more");
    return Code::corruption;
  }
  Code failed(Status status) {
    error = std::move(status);
    return error.code();
  }
};

/// Counts the pages of a walk: a chain has no more of them than the segment, unless its links are damaged.
class Hops {
 public:
  explicit Hops(const Segment& segment) : left_(segment.capacity(Table::pages)) {}
  bool too_many() { return left_-- == 0; }

 private:
  std::uint64_t left_;
};

/// Drops the pin at the end of an operation.
struct Unpin {
  const Lane& lane;
  ~Unpin() { lane.unpin(); }
};

/// For walks that start again when a page has gone under them.
constexpr int kRestarts = 1'000;

inline std::uint64_t id_of(const PageView& page, std::uint64_t ids_before) {
  return page.header->first_seq.load(std::memory_order_relaxed) + ids_before;
}

}  // namespace headpond::internal
