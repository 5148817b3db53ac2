// Pond: one named segment of shared memory and its folder. Open it, take scopes, queues and logs from it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "headpond/export.h"
#include "headpond/options.h"
#include "headpond/scope.h"
#include "headpond/status.h"

namespace headpond {

struct StreamInfo {
  enum class Kind : std::uint8_t { queue, log } kind = Kind::queue;
  std::string scope;
  std::string name;      // a queue's name, a log's ns
  std::string key;       // a log's key
  QueueStats queue;      // if it is a queue
  LogStats log;          // if it is a log
  milliseconds idle{0};  // since the last operation on it
  bool parked = false;   // it left the segment: `queue` and `log` say what its name keeps
};

struct WorkerInfo {
  std::int32_t pid = 0;
  std::uint32_t slot = 0;
  bool alive = true;
  std::uint64_t claims = 0;  // items that it holds now
  milliseconds attached{0};  // since it attached
};

/// What came back when the pond was rebuilt from its durable tier, because its segment was gone: after a reboot, or removed by hand.
///
/// Rebuilt are queues and logs with the items that were spilled or pushed `durable`, in their order and under their ids, and not acked; an ack
/// in memory alone may be forgotten. So are settings of queues and scopes, and the cursors of logs, as they were saved: see Queue::configure() and
/// Log::commit(). So is what its creator fixed: see Options. Gone are the items in memory alone, which leaves no trace but
/// `lost_records` and `unknown_items`; and which records of a log were trimmed. Attempts of items that came from the journal count from 0 again.
struct Recovered {
  std::uint64_t epoch = 0;          // 0: it was never rebuilt. Later ids are above epoch * 2^40
  std::int64_t at_ms = 0;           // when, wall clock
  std::uint64_t streams = 0;        // queues and logs
  std::uint64_t rows = 0;           // pages in the durable tier
  std::uint64_t items = 0;          // items and records
  std::uint64_t payload_bytes = 0;  // of these
  std::uint64_t from_journal = 0;   // of these, items that were pushed `durable` and never spilled
  std::uint64_t damaged_rows = 0;   // who comes to one is answered `corruption`, with its ids
  std::uint64_t damaged_items = 0;  // in them, about
  std::uint64_t lost_records =
      0;  // records of logs that are known to be gone: their ids are between those of others
  std::uint64_t unknown_items = 0;  // the same of queues: items that were consumed, or are gone
  std::uint64_t settings = 0;       // queues and scopes that are set to something
  std::uint64_t cursors = 0;        // of logs
};

/// The durable tier at one moment. All 0 where nothing was ever spilled or durable.
struct DurableStats {
  bool used = false;             // it was opened since the segment was made, by anybody
  std::uint64_t file_bytes = 0;  // of its files on disk, all of them
  std::uint64_t wal_bytes = 0;   // of these, in write-ahead logs
  std::uint64_t free_bytes = 0;  // of these, in pages that are used again before the files grow
  /// Synced commits of durable operations, by all processes together: rows that were ever written to the journal.
  std::uint64_t commits = 0;
  std::chrono::microseconds commit_time{0};  // what one takes, lately; 0: there was none
  std::uint64_t last_commit = 0;             // operations that shared the last one
  std::uint64_t waiting = 0;                 // operations that are posted, and not on disk yet
  /// ok; or what keeps this process from the tier, or kept its last checkpoint from its end.
  Status trouble;
};

struct HEADPOND_API Stats {
  std::string pond;
  std::uint64_t limit_bytes = 0;
  std::uint64_t page_bytes = 0;     // pages in use
  std::uint64_t segment_bytes = 0;  // shared memory that the segment takes, tables included
  std::uint64_t largest_free_bytes = 0;
  std::uint64_t streams = 0;  // parked ones, too
  std::uint64_t parked = 0;
  std::uint64_t participants = 0;
  std::uint64_t max_participants = 0;
  Recovered recovered;
  DurableStats durable;
  std::vector<WorkerInfo> workers;
  std::vector<StreamInfo> details;  // every queue and log

  /// Every figure with its unit in its name. Names that are not UTF-8 are given as {"base64": ...}.
  std::string json() const;
};

/// What verify() found; clean if there is nothing.
struct Findings {
  std::vector<std::string> problems;                  // each: which invariant, where, what was found
  std::uint64_t pages = 0, streams = 0, records = 0;  // looked at
  std::uint64_t rows = 0;                             // of the durable tier
  bool clean() const noexcept { return problems.empty(); }
};

/// What gc() did.
struct GcResult {
  std::uint64_t parked = 0;  // streams that left the segment
  std::uint64_t parked_items =
      0;  // READY items and records in them, dead letters, too; those that were in the durable tier before are not counted
  std::uint64_t freed_bytes = 0;    // of pages
  std::uint64_t dropped = 0;        // streams that were dropped
  std::uint64_t dropped_items = 0;  // with them
  std::uint64_t busy = 0;           // streams that seemed idle and were in use
};

struct RemoveOptions {
  /// Keep what the state folder holds: the pond of that name that is opened next is rebuilt from it, with the options that it was created with.
  bool keep_state = false;
  std::filesystem::path state_home = {};
};

/// An attached pond. Move-only, safe to use from every thread. All ponds of the same name opened in a process share one attachment, which
/// ends with the last Pond, Scope, Queue or Log handle. Nothing here is ever needed after a crash: whoever looks next cleans up.
class HEADPOND_API Pond {
 public:
  /// Creates the pond or attaches to it. Names: 1 to 128 of [A-Za-z0-9._-], not beginning with a dot. Takes some 100 us. If its segment is gone and its
  /// folder holds a durable tier, it is rebuilt from that, which reads all of it: some seconds a GiB, meanwhile others get `timeout`. Then
  /// recovered() says what was found. `busy`: processes are still attached to the old segment (the text says which); `corruption`, `unsupported`,
  /// `permission`, `full`, `timeout`: of the durable tier, or of what the folder keeps of options that are (fixed). In all these nothing was changed that the next open() can't go on with.
  static Result<Pond> open(const std::string& name, const Options& options = {});
  /// Attaches, or rebuilds as open() does; `not_found` if there is neither a segment nor a durable tier.
  static Result<Pond> open_existing(const std::string& name, const Options& options = {});
  /// Removes the name at once; attached processes get `removed` from then on, and the memory goes with the last of them. What the folder holds goes, too, as
  /// one step, unless it is to be kept: the durable tier, and options that are (fixed). Killed anywhere: remove() again, or open(), goes on.
  static Status remove(const std::string& name, const RemoveOptions& options = {});

  Pond(Pond&&) noexcept;
  Pond& operator=(Pond&&) noexcept;
  ~Pond();

  const std::string& name() const noexcept;
  /// Any bytes, up to 65,535.
  Scope scope(Bytes name = {}) const;
  /// The names of the scopes that hold a queue, a log or a cursor, or are set to something (Scope::configure), in memcmp order. As Scope::streams().
  Result<std::vector<std::string>> scopes() const;

  /// Waits until everything is durable that any process has posted before: pushes, appends and acks that were asked to be `posted`, moves and acks of
  /// durable items. And saves all settings and cursors that are in memory alone; in a pond that has no durable tier they make one. ok; or what keeps it from
  /// the disk. Sleeps, for Options::durable_timeout at most; `timeout` then.
  Status flush() const;
  /// The same for every process that is attached. Never sleeps.
  Recovered recovered() const noexcept;

  /// Parks and drops what was idle for that long. From any number of processes at once; a writer that races it loses nothing, and whoever is killed in it has parked or
  /// dropped some streams, wholly each. Sleeps, on the disk. `invalid`; or what the durable tier answers: what was done by then stays done.
  Result<GcResult> gc(const GcOptions& options) const;

  /// Looks at every stream; parked ones are counted from what their names keep, and stay parked. Opens the durable tier where there is one: what
  /// that answers is in `durable`, and fails nothing. May sleep for that, a second at most.
  Result<Stats> stats() const;
  /// Walks the whole segment and checks every invariant. Takes locks for moments; others go on.
  Result<Findings> verify() const;
  /// Finishes or undoes what dead processes left, and recycles their memory; returns how many were reaped. Done by itself, too, whenever
  /// somebody waits, finds nothing, meets `full` or attaches.
  Result<std::uint32_t> reap() const;

 private:
  explicit Pond(std::shared_ptr<internal::Attachment> attachment);
  std::shared_ptr<internal::Attachment> attachment_;
};

}  // namespace headpond
