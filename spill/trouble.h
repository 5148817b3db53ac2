// What a database's trouble is called outside: code, and a text that says what failed, on which file, why, and what to do.
#pragma once

#include <string>

#include "headpond/status.h"
#include "sqlite.h"

namespace headpond::internal {

/// `doing`: "store pages". REQUIRES: there is a fault. Trouble::busy becomes `timeout`: for when the time is over.
Status explain(const sqlite::Fault& fault, const std::string& path, const char* doing);

/// A failing system call on a file or folder.
Status failed_call(const std::string& path, const char* doing, int error_number);

/// "PATH: WHAT; ADVICE", with the advice for damaged stores.
Status damaged(const std::string& path, const std::string& what);
/// The same of a write-ahead log that is not the one that was opened, where the databases are: what most often did it, and the cure.
Status wal_gone(const std::string& wal);

}  // namespace headpond::internal
