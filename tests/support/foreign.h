// A foreign program at the databases: a connection of its own, outside of our locks.
#pragma once

#include <sqlite3.h>

#include <stdexcept>
#include <string>

namespace support {

/// Another program at our files.
class Foreign {
 public:
  explicit Foreign(const std::string& path) {
    if (sqlite3_open_v2(path.c_str(), &handle_, SQLITE_OPEN_READWRITE, nullptr) != SQLITE_OK)
      throw std::runtime_error("cannot open " + path);
    sqlite3_db_config(handle_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  }
  ~Foreign() { sqlite3_close_v2(handle_); }
  Foreign(const Foreign&) = delete;
  Foreign& operator=(const Foreign&) = delete;
  /// When it is closed, the log is copied into the database and taken away, if nobody else has that open.
  void takes_the_log_away() { sqlite3_db_config(handle_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr); }
  void run(const std::string& sql) {
    if (sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
      throw std::runtime_error(sql + ": " + sqlite3_errmsg(handle_));
  }
  /// The first column of the first row.
  int number(const std::string& sql) {
    sqlite3_stmt* query = nullptr;
    if (sqlite3_prepare_v2(handle_, sql.c_str(), -1, &query, nullptr) != SQLITE_OK ||
        sqlite3_step(query) != SQLITE_ROW)
      throw std::runtime_error(sql + ": " + sqlite3_errmsg(handle_));
    int number = sqlite3_column_int(query, 0);
    sqlite3_finalize(query);
    return number;
  }

 private:
  sqlite3* handle_ = nullptr;
};

}  // namespace support
