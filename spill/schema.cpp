#include "schema.h"

#include "trouble.h"

namespace headpond::internal::schema {

namespace {

constexpr const char* kMeta =
    "CREATE TABLE meta(id INTEGER PRIMARY KEY CHECK(id = 1), store_id INTEGER NOT NULL, epoch INTEGER NOT "
    "NULL, "
    "barrier INTEGER NOT NULL, complete INTEGER NOT NULL);";
constexpr const char* kPages =
    "CREATE TABLE page(id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, first INTEGER NOT NULL, "
    "last INTEGER NOT NULL, n INTEGER NOT NULL, created INTEGER NOT NULL, encoding INTEGER NOT NULL, "
    "checksum INTEGER NOT NULL, bytes BLOB NOT NULL);"
    "CREATE UNIQUE INDEX page_first ON page(stream, first);";
constexpr const char* kJournal =
    "CREATE TABLE journal(lsn INTEGER PRIMARY KEY, checksum INTEGER NOT NULL, entries BLOB NOT NULL);"
    "CREATE TABLE stream(id INTEGER PRIMARY KEY, scope BLOB NOT NULL, ns BLOB NOT NULL, name BLOB NOT NULL, "
    "kind INTEGER NOT NULL, cleared_upto INTEGER NOT NULL);";
constexpr const char* kSettings =
    "CREATE TABLE setting(scope BLOB NOT NULL, kind INTEGER NOT NULL, ns BLOB NOT NULL, name BLOB NOT NULL, "
    "cursor BLOB NOT NULL, checksum INTEGER NOT NULL, value BLOB NOT NULL, "
    "PRIMARY KEY(scope, kind, ns, name, cursor)) WITHOUT ROWID;";
constexpr std::uint64_t kWithoutSettings = 1;  // a journal.db's layout

sqlite::Fault number(sqlite::Connection& connection, const char* sql, std::uint64_t& out) {
  sqlite::Query query(connection, sql);
  if (query.row()) out = query.number(0);
  return query.fault();
}

sqlite::Fault read_meta(sqlite::Connection& connection, Meta& meta, bool& there) {
  sqlite::Query query(connection, "SELECT store_id, epoch, complete FROM meta WHERE id = 1");
  if ((there = query.row())) meta = {query.number(0), query.number(1), query.number(2) != 0};
  return query.fault();
}

Status wrong_layout(const std::string& path, Kind kind, std::uint64_t layout) {
  std::string text = path + ": has layout " + std::to_string(layout) + ", this headpond knows " +
                     std::to_string(layout_of(kind)) + ": ";
  return {Code::unsupported,
          text + (layout > layout_of(kind) ? "it was made by a newer headpond; use that one"
                                           : "it was made by an older headpond; use that one")};
}

}  // namespace

Found inspect(sqlite::Connection& connection, const std::string& path, Kind kind) {
  Found found;
  std::uint64_t application = 0, layout = 0, tables = 0;
  if ((found.fault = number(connection, "PRAGMA application_id", application))) return found;
  if ((found.fault = number(connection, "PRAGMA user_version", layout))) return found;
  if ((found.fault = number(connection, "SELECT count(*) FROM sqlite_schema", tables))) return found;
  if (application == 0 && layout == 0 && tables == 0) {
    found.blank = true;
  } else if (application != kApplication) {
    found.answer = damaged(path, "is a database of another program");
  } else if (layout != layout_of(kind) && !(kind == Kind::journal && layout == kWithoutSettings)) {
    found.answer = wrong_layout(path, kind, layout);
  } else {
    bool there = false;
    found.old = layout != layout_of(kind);
    found.fault = read_meta(connection, found.meta, there);
    if (!found.fault && !there) found.answer = damaged(path, "does not say which store it belongs to");
  }
  return found;
}

sqlite::Fault make(sqlite::Connection& connection, Kind kind, const Meta& meta) {
  if (auto fault = connection.run("PRAGMA page_size = " + std::to_string(page_bytes(kind)))) return fault;
  if (auto fault = connection.run("PRAGMA journal_mode = WAL")) return fault;
  if (auto fault = connection.run("PRAGMA synchronous = FULL")) return fault;
  std::string sql = "BEGIN IMMEDIATE;";
  sql += "PRAGMA application_id = " + std::to_string(kApplication) + ";";
  sql += "PRAGMA user_version = " + std::to_string(layout_of(kind)) + ";";
  sql += kMeta;
  sql += kind == Kind::pages ? kPages : std::string(kJournal) + kSettings;
  sql += "INSERT INTO meta VALUES(1, " + std::to_string(meta.store_id) + ", " + std::to_string(meta.epoch) +
         ", 0, " + std::to_string(meta.complete) + "); COMMIT";
  sqlite::Fault fault = connection.run(sql);
  if (fault) connection.rollback();
  return fault;
}

sqlite::Fault upgrade(sqlite::Connection& connection, Kind kind) {
  sqlite::Fault fault =
      connection.run("PRAGMA synchronous = FULL; BEGIN IMMEDIATE;" + std::string(kSettings) +
                     "PRAGMA user_version = " + std::to_string(layout_of(kind)) + "; COMMIT");
  if (fault) connection.rollback();
  return fault;
}

sqlite::Fault configure(sqlite::Connection& connection, Kind kind) {
  std::string sql =
      "PRAGMA secure_delete = OFF; PRAGMA mmap_size = 0; PRAGMA "
      "trusted_schema = OFF;"
      "PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 16777216;";
  sql += kind == Kind::pages ? "PRAGMA cache_size = -2048; PRAGMA synchronous = NORMAL"
                             : "PRAGMA cache_size = -1024; PRAGMA synchronous = FULL";
  return connection.run(sql);
}

}  // namespace headpond::internal::schema
