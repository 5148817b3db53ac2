#include "database.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "src/check.h"
#include "trouble.h"

namespace headpond::internal {

namespace {

constexpr std::uint64_t kCheckpointBytes = 4 << 20;   // of WAL: with less, the file is written too often
constexpr std::uint64_t kWritebackBytes = 512 << 10;  // into the database; a call costs some microseconds
constexpr std::uint64_t kVacuumLiveBytes = 16ULL
                                           << 20;  // at most, and four times as much free: then it is cheap
constexpr std::uint64_t kSpareBytes = 8 << 20;     // less than that is no space worth giving back

// Naps that grow, until a deadline.
class Patience {
 public:
  explicit Patience(std::uint64_t deadline_us) : deadline_us_(deadline_us) {}
  /// False: the time is over.
  bool nap() {
    std::uint64_t now = sys::precise_us();
    if (now >= deadline_us_) return false;
    sys::nap(std::min(nap_us_, deadline_us_ - now));
    nap_us_ = std::min<std::uint64_t>(nap_us_ * 2, 2000);
    return true;
  }

 private:
  const std::uint64_t deadline_us_;
  std::uint64_t nap_us_ = 50;
};

}  // namespace

Database::Database(StoreFiles& files, schema::Kind kind, std::string vfs)
    : files_(files),
      kind_(kind),
      path_(kind == schema::Kind::pages ? files.pages_path() : files.journal_path()),
      vfs_(std::move(vfs)),
      byte_(kind == schema::Kind::pages ? StoreFiles::pages_byte : StoreFiles::journal_byte),
      witness_(sys::process_witness()) {}

// In a child everything was let go in the fork already.
Database::~Database() {
  if (!forked()) fork_guard::leave(*this);
}

void Database::close() {
  connection_.close();
  wal_.reset();
}

void Database::in_child() noexcept {
  wal_.reset();
  connection_.abandon();
  files_.let_go();
  mutex_.unlock();
}

// ---------------------------------------------------------------------------------------------------------------- opening

Status Database::open() {
  if (Status checked = files_.check_file(path_); !checked) return checked;
  if (auto fault = connection_.open(path_, vfs_)) return failed(fault, "open");
  borrowed_ = kNotLookedFor;
  if (is_eager()) connection_.watch_writes(wrote, this);
  if (connection_.read_only()) {
    connection_.close();
    return explain({sqlite::Trouble::read_only, 0, ""}, path_, "open");
  }
  return {};
}

schema::Found Database::inspect() {
  schema::Found found = schema::inspect(connection_, path_, kind_);
  if (found.fault) found.answer = failed(found.fault, "open");
  return found;
}

Status Database::make(const schema::Meta& meta) {
  if (auto fault = schema::make(connection_, kind_, meta)) return failed(fault, "make the database");
  return {};
}

Status Database::upgrade() {
  if (auto fault = schema::upgrade(connection_, kind_)) return failed(fault, "give it the present layout");
  return {};
}

Status Database::change_meta(const schema::Meta& meta) {
  std::string sql = "PRAGMA synchronous = FULL; UPDATE meta SET epoch = " + std::to_string(meta.epoch) +
                    ", complete = " + std::to_string(meta.complete) + " WHERE id = 1";
  if (auto fault = connection_.run(sql)) return failed(fault, "open");
  return {};
}

Status Database::settle(const schema::Meta& meta) {
  meta_ = meta;
  if (auto fault = schema::configure(connection_, kind_)) return failed(fault, "open");
  return {};
}

// After a failed sync: the kernel may call pages clean that never reached the disk, and another sync would not say so. A checkpoint
// writes the database file from the WAL once more, and syncs it.
Status Database::reopen() {
  close();
  copied_pages_ = 0;
  if (Status opened = open(); !opened) return opened;
  schema::Found found = inspect();
  if (!found.answer.ok()) return found.answer;
  if (found.blank) return damage_ = damaged(path_, "is empty now");
  if (found.old) return damage_ = damaged(path_, "has an older layout now");
  if (Status settled = settle(meta_); !settled) return settled;
  if (Status done = checkpoint(); !done) {
    suspect_ = true;
    return done;
  }
  suspect_ = false;
  return {};
}

// ------------------------------------------------------------------------------------------------------------------ calls

Status Database::time_is_over(const char* doing) const {
  return {
      Code::timeout,
      path_ + ": cannot " + doing +
          " in the time allowed: another process has the lock, or is stopped with it; try again, and end a "
          "stopped one (state T in ps) or let it go on"};
}

// In short steps, of a clock that ThreadSanitizer watches, too.
bool Database::take_mutex(std::uint64_t deadline_us) {
  if (mutex_.try_lock()) return true;
  for (;;) {
    std::uint64_t now = sys::precise_us();
    if (now >= deadline_us) return false;
    std::chrono::microseconds step(std::min<std::uint64_t>(deadline_us - now, 100'000));
    if (mutex_.try_lock_until(std::chrono::system_clock::now() + step)) return true;
  }
}

Status Database::hold(std::uint64_t deadline_us, const char* doing, const std::function<Status()>& action) {
  for (Patience patience(deadline_us);;) {
    if (forked()) return Code::forked;
    if (!take_mutex(deadline_us)) return time_is_over(doing);
    std::unique_lock mutex(mutex_, std::adopt_lock);
    if (!damage_) return damage_;
    int error = files_.try_lock(byte_);
    Status answer;
    busy_ = error == EAGAIN;
    if (error == 0) {
      answer = !connection_ || suspect_ ? reopen() : Status();
      if (answer && !(answer = files_.compare())) damage_ = answer;
      if (answer) answer = action();
      files_.unlock(byte_);
    } else if (error == EAGAIN) {
      answer = Code::timeout;
    } else {
      return failed_call(files_.folder() + "/lock", "lock", error);
    }
    if (answer.ok() || !busy_) return answer;
    mutex.unlock();
    if (!patience.nap()) return error ? time_is_over(doing) : answer;
  }
}

Status Database::check_meta() {
  sqlite::Query query(connection_, "SELECT store_id, epoch FROM meta WHERE id = 1");
  if (!query.row()) {
    if (query.fault()) return failed(query.fault(), "read which store it is");
    return damage_ = damaged(path_, "does not say any more which store it belongs to");
  }
  if (query.number(0) != meta_.store_id) return damage_ = damaged(path_, "belongs to another store now");
  if (query.number(1) != meta_.epoch)
    return {Code::removed, path_ + ": the pond was rebuilt in epoch " + std::to_string(query.number(1)) +
                               ", this process is attached to epoch " + std::to_string(meta_.epoch) +
                               "; open it anew"};
  return {};
}

Status Database::transact(const char* doing, const Work& work, Sync sync) {
  bool raised = sync == Sync::full && kind_ == schema::Kind::pages;
  sqlite::Fault fault;
  if (raised) fault = connection_.run("PRAGMA synchronous = FULL");
  if (!fault) fault = sqlite::Query(connection_, "BEGIN IMMEDIATE").run();
  Status answer = fault ? failed(fault, doing) : check_meta();
  if (answer) answer = work(connection_);
  if (answer && (fault = sqlite::Query(connection_, "COMMIT").run())) answer = failed(fault, doing);
  if (!answer) connection_.rollback();
  // Outside of a transaction it cannot fail but for memory; then commits stay dearer than they must be.
  if (raised) (void)connection_.run("PRAGMA synchronous = NORMAL");
  if (suspect_ || !damage_) return answer;
  if (answer) {
    counts_.commits.fetch_add(1, std::memory_order_relaxed);
    if (raised || kind_ == schema::Kind::journal)
      counts_.full_commits.fetch_add(1, std::memory_order_relaxed);
    start_writeback();
    checkpoint_if_due();
  }
  return answer;
}

Status Database::write(std::uint64_t deadline_us, const char* doing, const Work& work, Sync sync) {
  return hold(deadline_us, doing, [&] { return transact(doing, work, sync); });
}

Status Database::read(std::uint64_t deadline_us, const char* doing, const Work& work) {
  for (Patience patience(deadline_us);;) {
    if (forked()) return Code::forked;
    if (!take_mutex(deadline_us)) return time_is_over(doing);
    std::unique_lock mutex(mutex_, std::adopt_lock);
    if (!connection_) {
      mutex.unlock();
      if (Status opened = hold(deadline_us, doing, [] { return Status(); }); !opened) return opened;
      continue;
    }
    busy_ = false;
    Status answer = work(connection_);
    if (answer.ok() || !busy_) return answer;
    mutex.unlock();
    if (!patience.nap()) return answer;
  }
}

Status Database::leave_a_trace(sqlite::Connection& connection, const char* doing) {
  sqlite::Query query(connection, "UPDATE meta SET barrier = barrier + 1 WHERE id = 1");
  return failed(query.run(), doing);
}

Status Database::begin_epoch(std::uint64_t epoch, std::uint64_t deadline_us) {
  constexpr const char* doing = "begin an epoch";
  return hold(deadline_us, doing, [&]() -> Status {
    if (epoch < meta_.epoch) return {Code::invalid, path_ + ": epochs never fall"};
    Status answer = transact(
        doing,
        [&](sqlite::Connection& connection) {
          sqlite::Query query(connection, "UPDATE meta SET epoch = ?1, barrier = barrier + 1 WHERE id = 1");
          return failed(query.with(epoch).run(), doing);
        },
        Sync::full);
    if (answer) meta_.epoch = epoch;
    return answer;
  });
}

// ----------------------------------------------------------------------------------------------------------------- faults

Status Database::failed(const sqlite::Fault& fault, const char* doing) {
  using sqlite::Trouble;
  if (!fault) return {};
  busy_ = fault.trouble == Trouble::busy;
  Status answer = explain(fault, path_, doing);
  if (fault.trouble == Trouble::damaged || fault.trouble == Trouble::foreign) damage_ = answer;
  if (fault.trouble == Trouble::sync_failed) {
    suspect_ = true;
    counts_.failed_syncs.fetch_add(1, std::memory_order_relaxed);
  }
  return answer;
}

// ----------------------------------------------------------------------------------------------------------------- upkeep

Status Database::upkeep() {
  std::lock_guard lock(mutex_);
  return upkeep_;
}

Status Database::checkpoint(sqlite::Checkpoint how) {
  sqlite::Fault fault = connection_.checkpoint(how);
  if (fault && fault.trouble != sqlite::Trouble::busy) return failed(fault, "checkpoint");
  counts_.checkpoints.fetch_add(1, std::memory_order_relaxed);
  copied_pages_ = connection_.wal_pages();
  return {};
}

// A reader may keep the WAL from beginning anew, so what was copied already does not count.
void Database::checkpoint_if_due() {
  std::uint64_t pages = connection_.wal_pages();
  if (pages < copied_pages_) copied_pages_ = 0;
  if ((pages - copied_pages_) * schema::page_bytes(kind_) >= kCheckpointBytes) upkeep_ = checkpoint();
}

// The disk works while the caller goes on, and a checkpoint's syncs find little to wait for. Only hints: what they answer does not matter.
void Database::start_writeback() {
  if (!is_eager()) return;
  if (!wal_ && sys::open_file(path_ + "-wal", false, wal_) != 0) return;
  sys::start_writeback(wal_.get());
}

// With a descriptor of SQLite's: closing one of ours would take its locks away.
void Database::wrote(void* self, std::uint64_t bytes) {
  auto& database = *static_cast<Database*>(self);
  if ((database.written_ += bytes) < kWritebackBytes) return;
  database.written_ = 0;
  if (database.borrowed_ == kNotLookedFor) {
    sys::FileInfo file;
    database.borrowed_ = sys::describe(database.path_, file) == 0 ? sys::find_descriptor(file) : -1;
  }
  if (database.borrowed_ >= 0) sys::start_writeback(database.borrowed_);
}

Status Database::free_bytes(std::uint64_t deadline_us, std::uint64_t& out) {
  const char* doing = "count free pages";
  return read(deadline_us, doing, [&](sqlite::Connection& connection) {
    sqlite::Query query(connection, "PRAGMA freelist_count");
    if (query.row()) out = query.number(0) * schema::page_bytes(kind_);
    return failed(query.fault(), doing);
  });
}

Status Database::vacuum_if_due() {
  std::uint64_t pages = 0, free = 0;
  for (auto [sql, out] :
       {std::pair{"PRAGMA page_count", &pages}, std::pair{"PRAGMA freelist_count", &free}}) {
    sqlite::Query query(connection_, sql);
    if (query.row()) *out = query.number(0);
    if (query.fault()) return failed(query.fault(), "look for free pages");
  }
  std::uint64_t live = pages - std::min(free, pages);
  if (live * schema::page_bytes(kind_) > kVacuumLiveBytes || free < 4 * live ||
      free * schema::page_bytes(kind_) < kSpareBytes)
    return {};
  if (auto fault = connection_.run("VACUUM")) return failed(fault, "give back free pages");
  counts_.vacuums.fetch_add(1, std::memory_order_relaxed);
  connection_.shrink();
  return {};
}

// The file ends behind its last page, and the WAL with nothing, once a checkpoint has copied all of it; a reader may keep it from that.
Status Database::cut_files() {
  auto surplus = [&]() -> std::uint64_t {
    sqlite::Query query(connection_, "PRAGMA page_count");
    std::uint64_t pages = query.row() ? query.number(0) : 0, used = pages * schema::page_bytes(kind_);
    sys::FileInfo file, wal;  // one that cannot be seen counts 0: the next write tells
    (void)sys::describe(path_, file), (void)sys::describe(path_ + "-wal", wal);
    return pages ? file.size + wal.size - std::min(used, file.size) : 0;
  };
  if (surplus() <= kSpareBytes) return {};
  if (Status done = checkpoint(sqlite::Checkpoint::truncate); !done) return done;
  if (surplus() <= kSpareBytes) return {};
  return {Code::timeout,
          path_ + ": cannot give back its disk space yet: somebody reads what was there before"};
}

Status Database::maintain(std::uint64_t deadline_us) {
  return hold(deadline_us, "maintain", [&] {
    checkpoint_if_due();
    if (upkeep_) upkeep_ = vacuum_if_due();
    return upkeep_ ? cut_files() : upkeep_;
  });
}

}  // namespace headpond::internal
