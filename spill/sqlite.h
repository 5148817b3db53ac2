// SQLite behind types of ours: the one place that knows its interface. A connection is used by one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct sqlite3;
struct sqlite3_stmt;

namespace headpond::internal::sqlite {

/// What SQLite's codes come down to.
enum class Trouble : std::uint8_t {
  none,
  busy,         // somebody else has a lock: try again
  full,         // no room on the file system
  read_only,    // file or folder may not be written
  cannot_open,  // a file is missing or forbidden
  damaged,      // pages make no sense, or end early
  foreign,      // no database at all
  sync_failed,  // what was written before may not be on disk, and a second sync would not say so
  input_output,
  too_big,
  other,  // memory, interrupts, our own misuse: the text tells
};

struct Fault {
  Trouble trouble = Trouble::none;
  int error_number = 0;  // of the system call behind it, if there was one
  std::string text;      // SQLite's
  explicit operator bool() const { return trouble != Trouble::none; }
};

enum class Checkpoint { passive, truncate };

class Query;

/// One open database file. Closing it checkpoints nothing.
class Connection {
 public:
  Connection() = default;
  Connection(Connection&&) noexcept;
  Connection& operator=(Connection&&) noexcept;
  ~Connection() { close(); }

  /// The file must be there. `vfs`: empty for the usual one.
  Fault open(const std::string& path, const std::string& vfs);
  void close();
  explicit operator bool() const { return handle_ != nullptr; }

  /// Any statements; rows are passed over.
  Fault run(const std::string& sql);
  /// Ends a transaction that an error has left open. Nothing if there is none.
  void rollback();
  bool read_only() const;
  /// Copies the WAL into the file as far as readers let it.
  Fault checkpoint(Checkpoint how);
  /// Pages in the WAL after this connection's last commit.
  std::uint64_t wal_pages() const { return *wal_pages_; }
  std::uint64_t changes() const;
  /// From now on calls wrote(context, bytes) after each write to the database's own file: a checkpoint makes some hundred of them.
  void watch_writes(void (*wrote)(void* context, std::uint64_t bytes), void* context);
  /// Gives back memory that is only kept for speed.
  void shrink();

  /// In a forked child: lets go of a connection that the parent made, without touching it. Both this and the next one are called by the
  /// fork guard only, one at a time.
  void abandon();
  /// Closes what was abandoned: SQLite keeps tables of files and locks in each process, and a child that opened a file anew beside the
  /// inherited connection would believe that it has the locks which the parent has. Closing writes nothing: no transaction was open.
  static void close_abandoned();

 private:
  friend class Query;
  struct Cached {
    const char* sql;
    sqlite3_stmt* statement;
  };
  sqlite3_stmt* prepared(const char* sql);
  Fault fault() const;

  sqlite3* handle_ = nullptr;
  std::vector<Cached> cache_;
  std::unique_ptr<std::uint64_t> wal_pages_ = std::make_unique<std::uint64_t>(0);
};

/// One execution of one statement; it is reset, with its locks, when this object goes.
///
///   Query query(connection, "SELECT a FROM t WHERE b = ?1");
///   query.with(7);
///   while (query.row()) use(query.number(0));
///   if (query.fault()) ...
class Query {
 public:
  /// `sql` must be a literal: the prepared statement is kept under its address.
  Query(Connection& connection, const char* sql);
  ~Query();
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  /// Binds the next parameter. Bytes must outlive the query. Numbers must be below 2^63.
  Query& with(std::uint64_t number);
  Query& with(std::string_view bytes);

  /// True: there is a row. False: the end, or a fault.
  bool row();
  /// To the end.
  const Fault& run();
  const Fault& fault() const { return fault_; }

  std::uint64_t number(int column) const;
  std::string_view bytes(int column) const;  // valid until the next row()

 private:
  void check(int code);

  Connection& connection_;
  sqlite3_stmt* statement_;
  int bound_ = 0;
  Fault fault_;
};

}  // namespace headpond::internal::sqlite
