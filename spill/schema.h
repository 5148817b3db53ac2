// What is in a database file, and how to tell that it is one of ours.
//
//   spill.db     page     a row a page; a rowid, so that reads need not copy the key; bytes last, so that the rest is read without them
//   journal.db   journal  a row a commit, by lsn; never left empty once there was one, or lsn would begin at 1 again
//                stream   what a stream id stands for
//                setting  what a queue or scope is set to, where a log's cursor is: a row a name
//   both         meta     one row: the store's id, its epoch, a counter for who must write something; `complete` in journal.db: spill.db was made, too
//
// application_id says that it is headpond's, user_version which layout it has; SQLite itself looks at neither. A journal.db of layout 1 has no
// settings: it gets the table when it is opened, in one transaction, and older headponds refuse it from then on.
#pragma once

#include <cstdint>
#include <string>

#include "headpond/status.h"
#include "sqlite.h"

namespace headpond::internal::schema {

enum class Kind { pages, journal };

constexpr std::uint64_t kApplication = 0x68647064;  // "hdpd"
constexpr std::uint64_t layout_of(Kind kind) { return kind == Kind::pages ? 1 : 2; }

/// A database's page size: for page rows of 64 KiB, and for short journal rows.
constexpr std::uint32_t page_bytes(Kind kind) { return kind == Kind::pages ? 32768 : 4096; }

struct Meta {
  std::uint64_t store_id = 0, epoch = 0;
  bool complete = false;
};

struct Found {
  bool blank = false;  // nothing in it yet: new, or its maker died
  bool old = false;    // of an earlier layout that upgrade() knows
  Meta meta;
  sqlite::Fault fault;  // reading failed; then the rest says nothing
  Status answer;        // not one of ours, or not of this layout
};

/// Reads only. REQUIRES: nobody is making it, the lock is held.
Found inspect(sqlite::Connection& connection, const std::string& path, Kind kind);

/// Makes a blank file a database of ours: whole or not at all, power-safe.
sqlite::Fault make(sqlite::Connection& connection, Kind kind, const Meta& meta);

/// Makes an `old` database one of the present layout: whole or not at all, power-safe.
sqlite::Fault upgrade(sqlite::Connection& connection, Kind kind);

/// What a connection is told each time; after inspect() or make().
sqlite::Fault configure(sqlite::Connection& connection, Kind kind);

}  // namespace headpond::internal::schema
