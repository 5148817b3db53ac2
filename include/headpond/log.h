// Log: records that everybody may read, in one order, until they are trimmed.
#pragma once

#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "headpond/export.h"
#include "headpond/options.h"
#include "headpond/queue.h"
#include "headpond/status.h"

namespace headpond {

struct Record {
  std::uint64_t seq = 0;
  /// Read in place: valid until the iterator that gave it moves on or goes.
  Bytes payload;
};

/// The readable records after a seq, as of one walk: `for (const Record& r : log.scan()) ...; scan.status()`. Ends at the first record
/// that is not yet written; what a later scan finds continues there. Single pass, one thread at a time; keeps at most one page from
/// being recycled. Must not outlive the Pond.
class HEADPOND_API Scan {
 public:
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Record;
    using difference_type = std::ptrdiff_t;
    const Record& operator*() const noexcept { return scan_->record_; }
    const Record* operator->() const noexcept { return &scan_->record_; }
    Iterator& operator++() {
      if (!scan_->next()) scan_ = nullptr;
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& a, std::default_sentinel_t) noexcept { return a.scan_ == nullptr; }

   private:
    friend class Scan;
    explicit Iterator(Scan* scan) : scan_(scan) {}
    Scan* scan_;
  };

  Scan(Scan&& other) noexcept;
  Scan& operator=(Scan&& other) noexcept;
  ~Scan();

  Iterator begin() { return Iterator(next() ? this : nullptr); }
  std::default_sentinel_t end() const noexcept { return {}; }
  /// Moves to the next record; false at the end of what is readable, at the limit, or at an error.
  bool next();
  const Record& record() const noexcept { return record_; }
  /// ok, or why the walk ended early.
  const Status& status() const noexcept { return status_; }

 private:
  friend class Log;
  friend class Follower;
  struct State;
  explicit Scan(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
  Record record_;
  Status status_;
};

/// A scan that waits: next() sleeps until a record after the last one is there.
class HEADPOND_API Follower {
 public:
  Follower(Follower&&) noexcept = default;
  Follower& operator=(Follower&&) noexcept = default;
  /// The next record, or `timeout`. Wakes as soon as it is appended.
  Result<Record> next(milliseconds timeout);

 private:
  friend class Log;
  explicit Follower(Scan scan) : scan_(std::move(scan)) {}
  Scan scan_;
};

/// A reader's named place: it has done with the records up to this seq.
struct CursorPlace {
  std::string name;
  std::uint64_t seq = 0;
};

struct LogStats {
  std::uint64_t records = 0;        // readable now
  std::uint64_t spilled = 0;        // of these, in the durable tier
  std::uint64_t spilled_bytes = 0;  // of their payloads
  std::uint64_t gaps = 0;           // runs of pages that are there, with pages in memory between them
  std::uint64_t payload_bytes = 0;  // of all of these
  std::uint64_t page_bytes = 0;     // segment memory of its pages
  std::uint64_t first_seq = 0;      // of the oldest record that is there; 0: none
  std::uint64_t last_seq = 0;
  std::uint64_t trimmed = 0;  // records below are gone
};

/// A handle on a named log. Cheap to copy, safe to share between threads and processes.
class HEADPOND_API Log {
 public:
  /// Appends one record of 0 bytes to 1 GiB and returns its seq. Seqs rise from 1 and are never used again; whoever reads a seq finds
  /// none appearing below it later.
  Result<std::uint64_t> append(Bytes record, std::optional<milliseconds> full_timeout = {});
  /// Returns once SQLite has it, if it is to be durable: see Queue::push().
  Result<std::uint64_t> append(Bytes record, const AppendOptions& options);
  /// All or nothing; the seqs are consecutive and the first one is returned.
  Result<std::uint64_t> append_many(std::span<const Bytes> records,
                                    std::optional<milliseconds> full_timeout = {});
  Result<std::uint64_t> append_many(std::span<const Bytes> records, const AppendOptions& options);
  /// Waits until the records up to this seq that were appended `posted` are durable. Others stay in memory. Sleeps, for durable_timeout at most;
  /// `timeout` then.
  Status wait_durable(std::uint64_t seq) const;
  /// In memory, whatever the scope's default is.
  Result<Reservation> reserve(std::size_t size);

  Scan scan(ScanOptions options = {}) const;
  Follower follow(std::int64_t after = 0) const;
  /// The seq of the last readable record, 0 if there was never one.
  Result<std::uint64_t> last_seq() const;
  /// Records with a lower seq are gone; returns how far the log is trimmed now (it never goes back). Their memory comes back a page at a time.
  Result<std::uint64_t> trim(std::uint64_t below);
  /// Trims what every cursor of this log has committed; without cursors it does nothing.
  Result<std::uint64_t> trim_committed();

  /// A reader's named place, kept in the pond: 0 at first. It survives every process.
  Result<std::uint64_t> committed(Bytes cursor) const;
  /// Committing a lower seq leaves it as it is. Returns the place, and whether that is durable.
  ///
  /// `durable`, by default the scope's: returns once SQLite has it, sharing a commit with all who wait for one; then it survives the host, too. ok and
  /// `memory` with a cause: committed, but not on disk. `posted`: with the next commit; flush() waits for that.
  ///
  /// `memory`: a reboot may take it back to where it was last saved, and no further, or to 0 if it never was: then what the reader had done since comes
  /// again. It never brings back a higher place than was committed, nor one that was dropped. If the pond has a durable tier, places are saved by gc(), by
  /// a maintenance thread within a second or so, and when a process that committed some ends in order; and by flush() in any case. Sleeps where it is to be
  /// durable; safe from every thread and process. Who is killed in it has moved the cursor, or not.
  Result<std::uint64_t> commit(Bytes cursor, std::uint64_t seq, std::optional<Durability> durability = {});
  /// In memory and on disk; `not_found` if there is none. Nothing is dropped if the durable tier, where the pond has one, cannot say so: then what that answers.
  Status drop_cursor(Bytes cursor);
  /// Every cursor of this log, by name.
  Result<std::vector<CursorPlace>> cursors() const;

  Result<LogStats> stats() const;
  /// Drops every record; returns how many. Seqs go on, and cursors stay where they are.
  Result<std::uint64_t> clear();

 private:
  friend class Scope;
  explicit Log(std::shared_ptr<internal::Stream> stream) : stream_(std::move(stream)) {}
  std::shared_ptr<internal::Stream> stream_;
};

}  // namespace headpond
