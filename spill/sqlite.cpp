#include "sqlite.h"

#include <sqlite3.h>

#include <cerrno>
#include <type_traits>
#include <utility>

namespace headpond::internal::sqlite {

namespace {

bool out_of_room(int error_number) {
  return error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG;
}

Trouble of_input_output(int code, int error_number) {
  if (out_of_room(error_number)) return Trouble::full;
  switch (code) {
    case SQLITE_IOERR_FSYNC:
    case SQLITE_IOERR_DIR_FSYNC: return Trouble::sync_failed;
    case SQLITE_IOERR_SHORT_READ:
    case SQLITE_IOERR_CORRUPTFS: return Trouble::damaged;
    default: return Trouble::input_output;
  }
}

Trouble trouble_of(int code, int error_number) {
  switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE: return Trouble::none;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL: return Trouble::busy;
    case SQLITE_FULL: return Trouble::full;
    case SQLITE_READONLY:
    case SQLITE_PERM: return Trouble::read_only;
    case SQLITE_CANTOPEN: return out_of_room(error_number) ? Trouble::full : Trouble::cannot_open;
    case SQLITE_CORRUPT: return Trouble::damaged;
    case SQLITE_NOTADB: return Trouble::foreign;
    case SQLITE_IOERR: return of_input_output(code, error_number);
    case SQLITE_TOOBIG: return Trouble::too_big;
    default: return Trouble::other;
  }
}

int remember_wal_pages(void* place, sqlite3*, const char*, int pages) {
  *static_cast<std::uint64_t*>(place) = static_cast<std::uint64_t>(pages);
  return SQLITE_OK;
}

/// In place of the methods of one open file, which they are but for two.
struct WatchedFile {
  sqlite3_io_methods methods;
  const sqlite3_io_methods* real;
  void (*wrote)(void*, std::uint64_t);
  void* context;

  static WatchedFile* of(sqlite3_file* file) {
    return reinterpret_cast<WatchedFile*>(const_cast<sqlite3_io_methods*>(file->pMethods));
  }
  static int write(sqlite3_file* file, const void* from, int bytes, sqlite3_int64 offset) {
    const WatchedFile& watch = *of(file);
    int code = watch.real->xWrite(file, from, bytes, offset);
    if (code != SQLITE_OK) return code;
    const int left = errno;  // fault() looks at it
    watch.wrote(watch.context, static_cast<std::uint64_t>(bytes));
    errno = left;
    return code;
  }
  static int close(sqlite3_file* file) {
    std::unique_ptr<WatchedFile> watch(of(file));
    file->pMethods = watch->real;
    return watch->real->xClose(file);
  }
};
static_assert(std::is_standard_layout_v<WatchedFile>);

// The parent's; a child fills it in the fork and empties it before it opens a file of its own.
std::vector<sqlite3*>& abandoned() {
  static auto* all = new std::vector<sqlite3*>;
  return *all;
}

void close_with_statements(sqlite3* handle) {
  while (sqlite3_stmt* statement = sqlite3_next_stmt(handle, nullptr)) sqlite3_finalize(statement);
  sqlite3_close_v2(handle);
}

}  // namespace

Connection::Connection(Connection&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)),
      cache_(std::move(other.cache_)),
      wal_pages_(std::move(other.wal_pages_)) {}

Connection& Connection::operator=(Connection&& other) noexcept {
  std::swap(handle_, other.handle_);
  std::swap(cache_, other.cache_);
  std::swap(wal_pages_, other.wal_pages_);
  return *this;
}

Fault Connection::open(const std::string& path, const std::string& vfs) {
  close();
  if (!sqlite3_threadsafe()) return {Trouble::other, 0, "this SQLite was built without threads"};
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
  int code = sqlite3_open_v2(path.c_str(), &handle_, flags, vfs.empty() ? nullptr : vfs.c_str());
  if (code != SQLITE_OK) {
    Fault why = handle_ ? fault() : Fault{Trouble::other, 0, sqlite3_errstr(code)};
    close();
    return why;
  }
  sqlite3_busy_timeout(handle_, 0);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_wal_hook(handle_, remember_wal_pages,
                   wal_pages_.get());  // takes the place of automatic checkpoints
  return {};
}

void Connection::watch_writes(void (*wrote)(void*, std::uint64_t), void* context) {
  sqlite3_file* file = nullptr;
  if (sqlite3_file_control(handle_, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK || !file ||
      !file->pMethods)
    return;
  auto watch = std::make_unique<WatchedFile>(WatchedFile{*file->pMethods, file->pMethods, wrote, context});
  watch->methods.xWrite = WatchedFile::write, watch->methods.xClose = WatchedFile::close;
  file->pMethods = &watch.release()->methods;  // goes with the file
}

void Connection::close() {
  if (handle_) close_with_statements(handle_);
  handle_ = nullptr;
  cache_.clear();
}

// A COMMIT that fails leaves its errno in `errno` alone. That was 0 before the call.
Fault Connection::fault() const {
  int left = errno;
  int code = sqlite3_extended_errcode(handle_);
  int error_number = sqlite3_system_errno(handle_);
  if (!error_number && (code & 0xff) == SQLITE_IOERR) error_number = left;
  return {trouble_of(code, error_number), error_number, sqlite3_errmsg(handle_)};
}

Fault Connection::run(const std::string& sql) {
  errno = 0;
  return sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK ? Fault{} : fault();
}

void Connection::rollback() {
  // A failure of it leaves nothing to undo: SQLite has rolled back by itself, or the connection is closed next.
  if (handle_ && !sqlite3_get_autocommit(handle_))
    (void)sqlite3_exec(handle_, "ROLLBACK", nullptr, nullptr, nullptr);
}

bool Connection::read_only() const { return sqlite3_db_readonly(handle_, "main") != 0; }

Fault Connection::checkpoint(Checkpoint how) {
  errno = 0;
  int mode = how == Checkpoint::passive ? SQLITE_CHECKPOINT_PASSIVE : SQLITE_CHECKPOINT_TRUNCATE;
  return sqlite3_wal_checkpoint_v2(handle_, "main", mode, nullptr, nullptr) == SQLITE_OK ? Fault{} : fault();
}

std::uint64_t Connection::changes() const { return static_cast<std::uint64_t>(sqlite3_changes64(handle_)); }
void Connection::shrink() { sqlite3_db_release_memory(handle_); }

void Connection::abandon() {
  if (!handle_) return;
  abandoned().push_back(handle_);
  handle_ = nullptr;
  cache_.clear();
}
void Connection::close_abandoned() {
  for (sqlite3* handle : abandoned()) close_with_statements(handle);
  abandoned().clear();
}

sqlite3_stmt* Connection::prepared(const char* sql) {
  for (const Cached& cached : cache_)
    if (cached.sql == sql) return cached.statement;
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(handle_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) != SQLITE_OK)
    return nullptr;
  cache_.push_back({sql, statement});
  return statement;
}

Query::Query(Connection& connection, const char* sql)
    : connection_(connection), statement_(connection.prepared(sql)) {
  if (!statement_) fault_ = connection_.fault();
}
Query::~Query() {
  if (!statement_) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

void Query::check(int code) {
  if (code != SQLITE_OK && !fault_) fault_ = connection_.fault();
}
Query& Query::with(std::uint64_t number) {
  if (statement_) check(sqlite3_bind_int64(statement_, ++bound_, static_cast<sqlite3_int64>(number)));
  return *this;
}
Query& Query::with(std::string_view bytes) {
  const char* data = bytes.data() ? bytes.data() : "";  // an empty blob, not NULL
  if (statement_) check(sqlite3_bind_blob64(statement_, ++bound_, data, bytes.size(), SQLITE_STATIC));
  return *this;
}

bool Query::row() {
  if (fault_) return false;
  errno = 0;
  int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) fault_ = connection_.fault();
  return false;
}
const Fault& Query::run() {
  while (row()) continue;
  if (statement_) sqlite3_reset(statement_);
  return fault_;
}
std::uint64_t Query::number(int column) const {
  return static_cast<std::uint64_t>(sqlite3_column_int64(statement_, column));
}
std::string_view Query::bytes(int column) const {
  auto* data = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  // null: no bytes, or no memory for them
  return data ? std::string_view(data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)))
              : "";
}

}  // namespace headpond::internal::sqlite
