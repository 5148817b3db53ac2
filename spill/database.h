// One database of the store: its connection, its lock, and what every call on it goes through.
//
//   write   mutex of this process -> lock byte of the file -> files are the same? -> BEGIN -> store and epoch are the same? -> work
//           -> COMMIT -> checkpoint if due -> unlock
//   read    mutex of this process -> work. Without the lock byte: readers and one writer don't disturb each other.
//
// Nobody sleeps while it holds one of the two: who finds the file locked or busy lets go, naps and begins again. A thread that holds one
// database asks for no other.
//
// States. usable; suspect: a sync failed, so the next call opens it anew and checkpoints; damaged: reads only, for good.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "fork_guard.h"
#include "schema.h"
#include "sqlite.h"
#include "store_files.h"

namespace headpond::internal {

class Database : public ForkGuarded {
 public:
  using Work = std::function<Status(sqlite::Connection&)>;
  enum class Sync { usual, full };  // usual: full in the journal, none among pages

  Database(StoreFiles& files, schema::Kind kind, std::string vfs);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  const std::string& path() const { return path_; }

  // For opening: this thread has the lock byte of this database, no other thread knows the object, and no fork happens.
  Status open();
  void close();
  schema::Found inspect();
  Status make(const schema::Meta& meta);
  Status upgrade();
  Status change_meta(const schema::Meta& meta);
  /// Expects this store and epoch from now on, and tunes the connection.
  Status settle(const schema::Meta& meta);

  /// One transaction. `work` reports a fault by `return database.failed(fault, doing)`; it may run again when the file was busy.
  Status write(std::uint64_t deadline_us, const char* doing, const Work& work, Sync sync = Sync::usual);
  /// `work` should be one statement: two may see two states.
  Status read(std::uint64_t deadline_us, const char* doing, const Work& work);
  /// Changes the epoch that write() expects, in the transaction that `work` makes.
  Status begin_epoch(std::uint64_t epoch, std::uint64_t deadline_us);
  /// Checkpoints if there is enough to; then, if live pages are few and free ones many, gives the free ones back.
  Status maintain(std::uint64_t deadline_us);

  /// For a transaction that may change nothing else: a write all the same, so that nothing a killed writer left behind the end of the WAL comes back (D6).
  Status leave_a_trace(sqlite::Connection& connection, const char* doing);
  /// What a fault means to the caller; and what it means to this database is remembered.
  Status failed(const sqlite::Fault& fault, const char* doing);
  bool forked() const { return witness_->load(std::memory_order_relaxed) != 1; }

  struct Counts {
    std::atomic<std::uint64_t> commits{0}, full_commits{0}, checkpoints{0}, vacuums{0}, failed_syncs{0};
  };
  const Counts& counts() const { return counts_; }
  Status upkeep();
  /// Bytes of pages that are used again before the file grows.
  Status free_bytes(std::uint64_t deadline_us, std::uint64_t& out);

  void before_fork() override { mutex_.lock(); }
  void in_parent() override { mutex_.unlock(); }
  void in_child() noexcept override;

 private:
  enum class Next { done, again };

  bool take_mutex(std::uint64_t deadline_us);
  Status hold(std::uint64_t deadline_us, const char* doing, const std::function<Status()>& action);
  Status reopen();
  Status transact(const char* doing, const Work& work, Sync sync);
  Status check_meta();
  Status checkpoint(sqlite::Checkpoint how = sqlite::Checkpoint::passive);
  void checkpoint_if_due();
  /// Pages are many, and the caller waits for the checkpoint. (Tests with a disk of their own have no use for it.)
  bool is_eager() const { return kind_ == schema::Kind::pages && vfs_.empty(); }
  void start_writeback();
  static void wrote(void* self, std::uint64_t bytes);
  Status vacuum_if_due();
  Status cut_files();
  Status time_is_over(const char* doing) const;

  StoreFiles& files_;
  const schema::Kind kind_;
  const std::string path_, vfs_;
  const StoreFiles::Byte byte_;
  const std::atomic<std::uint32_t>* const witness_;

  std::timed_mutex mutex_;  // guards what follows
  sqlite::Connection connection_;
  sys::Fd
      wal_;  // for start_writeback() only: SQLite has no lock on a WAL that closing another descriptor would take away
  static constexpr int kNotLookedFor = -2;
  int borrowed_ = kNotLookedFor;  // SQLite's descriptor of the database; -1: there is none to be found
  std::uint64_t written_ = 0;     // into the database since the disk was last told to begin
  schema::Meta meta_;
  Status damage_;                   // ok, or why nothing is written any more
  Status upkeep_;                   // of the last checkpoint or vacuum
  std::uint64_t copied_pages_ = 0;  // of the WAL, by our last checkpoint
  bool busy_ = false;               // the last fault was that: let go and try again
  bool suspect_ = false;            // a sync failed
  Counts counts_;
};

}  // namespace headpond::internal
