// A pond's folder on disk: where it is, who may use it, and its lock file.
#pragma once

#include <filesystem>
#include <string>

#include "headpond/status.h"
#include "sys.h"

namespace headpond::internal {

/// The folder STATE_HOME/POND, mode 0700, with its lock file; what else is in it: fixed.h, and store_files.h of the durable tier. Byte 0 of the lock file: every participant, shared. Byte 1: who creates or
/// removes the segment, exclusive.
class StateFolder {
 public:
  /// `create`: makes what is missing. Refuses a symbolic link, another owner, and a folder that others may enter.
  static Result<StateFolder> open(const std::string& pond, const std::filesystem::path& home, bool create);

  const std::string& path() const { return path_; }
  std::uint64_t device() const { return device_; }
  std::uint64_t inode() const { return inode_; }

  /// Says "somebody is attached" until the returned descriptor is closed.
  Result<sys::Fd> announce() const;
  /// Says "nobody is attached, and nobody can be" until it is shared() or closed. `busy` says which processes are, after 2 s: a death takes
  /// a moment to show.
  Result<sys::Fd> alone() const;
  /// From then on it says "somebody is attached".
  static void share(const sys::Fd& alone);
  /// The right to create or remove. `timeout` if another keeps it for 2 s.
  Result<sys::Fd> exclusive() const;
  /// Is the folder of that name still the one that was opened?
  bool is_same() const;
  /// What the system answered for a file in it, with a cure.
  static Status failed(const std::string& path, const char* what, int error);
  /// Removes the lock file and, if it is empty then, the folder. REQUIRES: exclusive() is held.
  Status discard() const;

 private:
  std::string path_;
  std::uint64_t device_ = 0, inode_ = 0;
};

}  // namespace headpond::internal
