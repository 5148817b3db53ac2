// The files of one store: where they are, whether they are still the ones that were opened, and the lock over each database.
//
//   lock          a byte a database, exclusive, held by who opens, commits, checkpoints or vacuums. The kernel drops it with its holder.
//   spill.db      page rows, with -wal and -shm
//   journal.db    journal, names, with -wal and -shm
//
// SQLite writes happily into a file that was replaced or deleted under it, and a new lock file excludes nobody: so all five are compared
// before each commit, by device and inode. (-shm holds nothing that is not computed from -wal.)
#pragma once

#include <cstdint>
#include <string>

#include "src/sys.h"
#include "src/tier.h"

namespace headpond::internal {

class StoreFiles {
 public:
  enum Byte : std::uint64_t { journal_byte = 2, pages_byte = 3 };  // 0 and 1 of that file are the pond's

  explicit StoreFiles(const std::string& folder);  // made absolute: a process may change its folder

  const std::string& folder() const { return folder_; }
  const std::string& pages_path() const { return pages_path_; }
  const std::string& journal_path() const { return journal_path_; }

  /// Opens the lock file, and makes it if need be.
  Status open_lock();
  /// Tries once. EAGAIN: somebody else has it.
  int try_lock(Byte byte) { return sys::try_lock(lock_, byte, true); }
  /// EAGAIN after so many ms.
  int lock_waiting(Byte byte, std::uint32_t milliseconds) {
    return sys::lock_waiting(lock_, byte, milliseconds);
  }
  void unlock(Byte byte) { sys::unlock(lock_, byte); }
  /// In a child: its copy of the descriptor would keep the lock of a dead parent alive.
  void let_go() noexcept { lock_.reset(); }

  /// Owner, mode, kind and links of a database file. `not_found` if it is not there.
  Status check_file(const std::string& path) const;

  /// Takes down which files these are. Both databases must have been read, so that their -wal exist.
  Status remember();
  /// Are they still these? Yes before remember().
  Status compare() const;
  /// Without store and epoch. Constant after remember().
  const TierIdentity& identity() const { return identity_; }

 private:
  std::string folder_, lock_path_, pages_path_, journal_path_;
  sys::Fd lock_;
  TierIdentity identity_;
  bool remembered_ = false;
};

}  // namespace headpond::internal
