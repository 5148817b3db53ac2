// The durable tier as the hot tier knows it: an abstract class. What implements it is in the room above; nothing here names it.
//
//   pages     sealed pages of streams, a row each, keyed by (stream, first seq). A store is safe against kills when it returns, and
//             against power loss from the next barrier() or checkpoint on.
//   names     what a stream id means. Power-safe when declare() returns; no page of a stream is stored before that.
//   journal   durable operations, a row a commit(), numbered by lsn. Power-safe when commit() returns.
//   settings  what queues and scopes are set to, and the cursors of logs, by name. In the same transaction of the same commit().
//   meta      the store's id and its epoch: a store that another rebuild has taken over answers `removed`.
//
// All calls. Every deadline is absolute, in microseconds of CLOCK_MONOTONIC (sys::precise_us()); one in the past means "try once".
// Calls may sleep, on the disk and for a lock, until the deadline; they never sleep in memory that others wait for. From any number of
// threads and processes at once. A process killed in a call leaves the state before or after it. After a fork the child's calls answer
// `forked`, and the child opens a tier of its own. Answers that all share:
//
//   timeout      another process holds the lock or the database for longer than that: a stopped one, a foreign program. Nothing happened.
//   full         the file system has no room. Nothing happened; the same call works once there is room.
//   permission   a file or the folder may not be written.
//   corruption   a file is damaged, replaced, deleted, or went back to an older state. Reads go on as far as they can, writing has ended.
//   removed      another epoch began: open the pond anew.
//   system       a system call failed; see error_number().
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "headpond/status.h"

namespace headpond::internal {

/// A sealed page to be stored: the image of its records. Ids, sizes and times must be below 2^63, and first <= last.
struct TierPage {
  std::uint64_t stream = 0, first = 0, last = 0;
  std::uint32_t records = 0;
  std::uint64_t created_ms = 0;  // wall clock, for people
  std::string_view bytes;        // any, 1 GiB - 64 KiB at most
  bool compress = false;         // try to; kept only where it saves an eighth
};

/// A page as it comes back: byte for byte what was stored, its checksum verified.
struct TierRow {
  std::uint64_t stream = 0, first = 0, last = 0;
  std::uint32_t records = 0;
  std::uint64_t created_ms = 0;
  std::string bytes;
};

/// A row without its bytes.
struct TierSpan {
  std::uint64_t first = 0, last = 0;
  std::uint32_t records = 0;
  std::uint64_t bytes = 0;  // as stored
};

/// What a stream id stands for. Ids are never used again, not even after forget().
struct TierNames {
  std::uint64_t stream = 0;
  std::string scope, ns, name;  // any bytes
  std::uint8_t kind = 0;        // the hot tier's own number
  std::uint64_t cleared_upto = 0;
};

/// What a queue or a scope is set to, or where a cursor of a log is. It belongs to the name, whatever streams that has had.
struct TierSetting {
  std::uint8_t kind = 0;                // the hot tier's own number
  std::string scope, ns, name, cursor;  // any bytes
  std::optional<std::string> value;     // the hot tier's own; none: there is none, or is none any more
};

/// Of a stream that is stored as a whole up to an id: ids below of which the rows stay as they are.
struct TierKept {
  std::uint64_t stream = 0, end = 0;                            // end: behind the last
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;  // first to last, rising
};

struct TierTotals {
  std::uint64_t rows = 0, records = 0, bytes = 0;
};

/// One durable operation. An item is named by its birth id {birth_stream, birth_seq} wherever it is now.
struct JournalEntry {
  enum class Kind : std::uint8_t {
    push =
        1,  // an item, at {stream, seq}; again after each move, with `moves` raised: the highest is its place
    ack = 2,  // the items birth_seq to birth_last of birth_stream are done, wherever they are
    note =
        3,  // the hot tier's own: {stream, seq} and payload are given back as they are, until keep() lets it go
  };
  Kind kind = Kind::push;
  std::uint8_t flags = 0;   // the hot tier's own, given back as they are
  std::uint32_t moves = 0;  // push: how often the item had moved when this was written
  std::uint64_t birth_stream = 0, birth_seq = 0, birth_last = 0;  // birth_last: ack only, >= birth_seq
  std::uint64_t stream = 0, seq = 0;                              // push, note
  std::string_view payload;  // push, note; valid as long as the caller or the callback says
};

/// Which files these are. The segment remembers the first opener's, the others must find the same.
struct TierIdentity {
  struct File {
    std::uint64_t device = 0, inode = 0;
    friend bool operator==(const File&, const File&) = default;
  };
  std::uint64_t store_id = 0, epoch = 0;
  File pages, pages_wal, journal, journal_wal, lock;
  friend bool operator==(const TierIdentity&, const TierIdentity&) = default;
};

/// Snapshots; the counts are of this process since it opened the tier.
struct TierFigures {
  std::uint64_t file_bytes = 0, wal_bytes = 0;  // of all files, on disk now
  std::uint64_t free_bytes = 0;                 // of these, in pages that are free
  std::uint64_t pages_stored = 0, pages_loaded = 0, bytes_stored = 0,
                bytes_kept = 0;  // kept: after compression
  std::uint64_t commits = 0, full_commits = 0, checkpoints = 0, vacuums = 0;
  /// How often a sync failed. When it has risen, pages stored since the last good barrier() may not be on disk: store them again, or
  /// keep their journal entries.
  std::uint64_t failed_syncs = 0;
  /// What the last checkpoint or vacuum answered: it fails without failing the call after which it ran, and is tried again by the next. If that was ok,
  /// what keeps the free pages from being counted.
  Status upkeep;
};

constexpr std::size_t kClearedAtOnce = 256;  // a transaction for so many is some ms of a database's lock

class Tier {
 public:
  virtual ~Tier() = default;
  Tier() = default;
  Tier(const Tier&) = delete;
  Tier& operator=(const Tier&) = delete;

  // ------------------------------------------------------------------------------------------------------------- names
  /// Says what a stream id stands for. Power-safe. Again with the same names is fine, with others `exists`. `cleared_upto` only rises.
  virtual Status declare(const TierNames& names, std::uint64_t deadline_us) = 0;
  /// The same for many, in one transaction: all or none.
  virtual Status declare_all(std::span<const TierNames> names, std::uint64_t deadline_us) = 0;
  /// Records that ids up to this one of these streams are cleared, in one transaction. Power-safe; before their rows are erased, so that rows which
  /// a power cut brings back are known for leftovers. `not_found`: none of them is declared. 0: changes nothing, but writes something, and so tells whether it could.
  virtual Status clear(std::span<const std::uint64_t> streams, std::uint64_t upto,
                       std::uint64_t deadline_us) = 0;
  Status clear(std::uint64_t stream, std::uint64_t upto, std::uint64_t deadline_us) {
    return clear({&stream, 1}, upto, deadline_us);
  }
  /// Ends streams, in one transaction: power-safe. `busy` while one has rows: then none ends. `not_found`: none of them is declared.
  virtual Status forget(std::span<const std::uint64_t> streams, std::uint64_t deadline_us) = 0;
  Status forget(std::uint64_t stream, std::uint64_t deadline_us) { return forget({&stream, 1}, deadline_us); }
  /// All declared streams, by id.
  virtual Result<std::vector<TierNames>> streams(std::uint64_t deadline_us) = 0;
  /// All settings and cursors. `corruption` if one is damaged.
  virtual Result<std::vector<TierSetting>> settings(std::uint64_t deadline_us) = 0;

  // ------------------------------------------------------------------------------------------------------------- pages
  /// Stores these pages in one transaction: all or none. A row with the same (stream, first) is replaced. `invalid`: a stream that was
  /// not declared, or numbers out of range; `too_large`: a page over the limit. 16 pages of 64 KiB a call are cheap, one is dear.
  virtual Status store(std::span<const TierPage> pages, std::uint64_t deadline_us) = 0;
  /// Stores these pages, and makes them all that these streams have below their ends but for the rows that begin in a range which is to be kept: in one transaction.
  /// Each page is of one of the streams. Answers as store().
  virtual Status store_whole(std::span<const TierPage> pages, std::span<const TierKept> streams,
                             std::uint64_t deadline_us) = 0;
  /// Exactly that row. `not_found`; `corruption` names the ids when the row is damaged: of one row, writing goes on.
  virtual Result<TierRow> load(std::uint64_t stream, std::uint64_t first, std::uint64_t deadline_us) = 0;
  /// The row with the smallest first >= at_least.
  virtual Result<TierRow> load_from(std::uint64_t stream, std::uint64_t at_least,
                                    std::uint64_t deadline_us) = 0;
  /// The row with first <= seq <= last.
  virtual Result<TierRow> load_holding(std::uint64_t stream, std::uint64_t seq,
                                       std::uint64_t deadline_us) = 0;
  /// Erases the rows that begin there, in one transaction; absent ones are fine.
  virtual Status erase(std::uint64_t stream, std::span<const std::uint64_t> firsts,
                       std::uint64_t deadline_us) = 0;
  /// Erases the rows of these streams that end there or before. At most some thousand a transaction, so that others get their turn: a kill may leave
  /// a part, and the call can be repeated.
  virtual Status erase_upto(std::span<const std::uint64_t> streams, std::uint64_t seq,
                            std::uint64_t deadline_us) = 0;
  Status erase_upto(std::uint64_t stream, std::uint64_t seq, std::uint64_t deadline_us) {
    return erase_upto({&stream, 1}, seq, deadline_us);
  }
  /// Of the rows wholly within [first, last].
  virtual Result<TierTotals> totals(std::uint64_t stream, std::uint64_t first, std::uint64_t last,
                                    std::uint64_t deadline_us) = 0;
  /// Visits the rows of a stream by rising first, without their bytes and without a checksum verified; no lock is held meanwhile, so
  /// the visitor may call the tier. Ends early with what the visitor answers, if that is not ok.
  virtual Status list(std::uint64_t stream, const std::function<Status(const TierSpan&)>& visit,
                      std::uint64_t deadline_us) = 0;
  /// The ids of streams that have rows, declared or not.
  virtual Result<std::vector<std::uint64_t>> streams_with_rows(std::uint64_t deadline_us) = 0;
  /// Everything stored and erased before, by any process, is power-safe when it returns.
  virtual Status barrier(std::uint64_t deadline_us) = 0;

  // ----------------------------------------------------------------------------------------------------------- journal
  /// Writes the entries as one row and the settings at their places, in one synced commit, and answers the highest lsn: the row's, or without
  /// entries what it was. `after`: the highest lsn that anybody was ever told; a journal that has less went back in time, which is `corruption`.
  /// `invalid`: neither entries nor settings. A setting is what was written last, so whoever writes one reads and commits it under one lock.
  virtual Result<std::uint64_t> commit(std::span<const JournalEntry> entries,
                                       std::span<const TierSetting> settings, std::uint64_t after,
                                       std::uint64_t deadline_us) = 0;
  Result<std::uint64_t> commit(std::span<const JournalEntry> entries, std::uint64_t after,
                               std::uint64_t deadline_us) {
    return commit(entries, {}, after, deadline_us);
  }
  /// The highest lsn; 0: nothing was ever committed. It never falls.
  virtual Result<std::uint64_t> last_lsn(std::uint64_t deadline_us) = 0;
  /// Visits every entry by rising lsn, each at least once, dead ones too; beside a trim() some come twice. The entry is valid inside
  /// the call only. No lock is held meanwhile. Ends early with what the visitor answers, if that is not ok.
  virtual Status replay(const std::function<Status(const JournalEntry&)>& visit,
                        std::uint64_t deadline_us) = 0;
  /// Unites the journal: pushed minus acked, by birth id; order and repetition don't matter. Calls `acks` once, with what tells whether
  /// an item is acked (for the items of page rows, too); then `visit` with each item that is pushed and not acked, once, at its last
  /// place, unless that is cleared; and with the notes. No lock is held meanwhile. Ends early with what either answers, if that is not
  /// ok. REQUIRES: nobody commits or trims meanwhile.
  using Acked = std::function<bool(std::uint64_t birth_stream, std::uint64_t birth_seq)>;
  virtual Status survivors(const std::function<Status(const Acked&)>& acks,
                           const std::function<Status(const JournalEntry&)>& visit,
                           std::uint64_t deadline_us) = 0;
  /// Takes the oldest rows (at most that many) away: what `keep` wants of them is written again as new rows, acks merged into ranges.
  /// One transaction, after a barrier(). Nothing happens if another trim is faster. `keep` must answer no for a push only if its item is done at its last place or lies in a stored
  /// row, for an ack only if no stored row holds its item; it is called before the barrier, and no lock is held.
  virtual Status trim(std::uint32_t rows, const std::function<bool(const JournalEntry&)>& keep,
                      std::uint64_t deadline_us) = 0;
  virtual Result<std::uint64_t> journal_rows(std::uint64_t deadline_us) = 0;

  // ------------------------------------------------------------------------------------------------------ the whole store
  virtual TierIdentity identity() const = 0;
  /// Begins that epoch in all files, power-safe; this tier goes on in it, all others answer `removed`. Idempotent. `invalid` unless it
  /// is the present one or higher. REQUIRES: nobody else is attached to the pond.
  virtual Status begin_epoch(std::uint64_t epoch, std::uint64_t deadline_us) = 0;
  /// Checkpoints what is due, and gives back disk space where the files are mostly empty. Calls that write do the former by themselves.
  virtual Status maintain(std::uint64_t deadline_us) = 0;
  virtual TierFigures figures() = 0;
};

struct TierOptions {
  std::string
      folder;  // the pond's state folder, which was checked before; its file "lock" is used, and made if need be
  bool create = false;  // make what is missing, if nothing was ever there; else `not_found`
  /// What the segment remembers; anything else found is `corruption`, another epoch `removed`.
  std::optional<TierIdentity> expected;
  /// Asked with the tier's locks held, before anything is opened or made; what is not ok is the answer.
  std::function<Status()> allowed = {};
  std::string vfs;  // tests only: files by way of this SQLite VFS, registered before
};

/// Opens or makes the tier of a folder. Opening takes the locks, so it may answer `timeout`. `unsupported`: a newer headpond made it.
Result<std::unique_ptr<Tier>> open_tier(const TierOptions& options, std::uint64_t deadline_us);

/// Does the folder hold a tier? Not if its removal was begun.
bool has_tier(const std::string& folder);
/// Removes the tier's files from a folder, and `also` what goes with it, as one step: killed or refused it leaves all of it, or what has_tier() calls none and
/// end_removal() takes away. Power-safe. Has the tier's locks: `timeout`, if another keeps them for 2 s. REQUIRES: nobody is `allowed` to open it any more; who has it
/// open finds its files gone.
Status remove_tier(const std::string& folder, const std::function<Status()>& also);
/// Goes on with a removal that was begun, if one was. `corruption`: it was, and a tier is there nonetheless, put back by somebody. REQUIRES: as above.
Status end_removal(const std::string& folder, const std::function<Status()>& also);

}  // namespace headpond::internal
