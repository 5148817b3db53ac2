#include "store_files.h"

#include <cerrno>
#include <filesystem>

#include "trouble.h"

namespace headpond::internal {

namespace {

Status lost(const std::string& path, const char* what) {
  return path.ends_with("-wal") ? wal_gone(path) : damaged(path, what);
}

Status look(const std::string& path, TierIdentity::File& file) {
  sys::FileInfo info;
  if (int error = sys::describe(path, info)) {
    if (error == ENOENT) return lost(path, "was deleted while it was in use");
    return failed_call(path, "look at the file", error);
  }
  file = {info.device, info.inode};
  return {};
}

Status same(const std::string& path, const TierIdentity::File& expected) {
  TierIdentity::File found;
  if (Status seen = look(path, found); !seen) return seen;
  if (found == expected) return {};
  return lost(path, "was replaced by another file while it was in use");
}

}  // namespace

StoreFiles::StoreFiles(const std::string& folder) {
  std::error_code ignored;  // the path as it was given serves, too
  std::filesystem::path absolute = std::filesystem::absolute(folder, ignored);
  folder_ = ignored ? folder : absolute.string();
  lock_path_ = folder_ + "/lock", pages_path_ = folder_ + "/spill.db",
  journal_path_ = folder_ + "/journal.db";
}

Status StoreFiles::open_lock() {
  if (int error = sys::open_file(lock_path_, true, lock_)) {
    if (error == ENOENT) return Status(Code::not_found, folder_ + ": there is no such state folder");
    return failed_call(lock_path_, "open the lock file", error);
  }
  return {};
}

Status StoreFiles::check_file(const std::string& path) const {
  sys::FileInfo info;
  if (int error = sys::describe(path, info)) {
    if (error == ENOENT) return Status(Code::not_found, path + ": there is no such file");
    return failed_call(path, "look at the file", error);
  }
  if (!info.regular) return Status(Code::permission, path + ": is no regular file");
  if (info.uid != sys::user())
    return Status(Code::permission, path + ": belongs to uid " + std::to_string(info.uid) + ", not to you");
  if (info.links != 1) return Status(Code::permission, path + ": has more than one name; remove the others");
  if (info.mode & 077) return Status(Code::permission, path + ": others may use it; run `chmod 600` on it");
  return {};
}

Status StoreFiles::remember() {
  if (Status seen = look(pages_path_, identity_.pages); !seen) return seen;
  if (Status seen = look(pages_path_ + "-wal", identity_.pages_wal); !seen) return seen;
  if (Status seen = look(journal_path_, identity_.journal); !seen) return seen;
  if (Status seen = look(journal_path_ + "-wal", identity_.journal_wal); !seen) return seen;
  sys::FileInfo mine;
  if (int error = sys::describe(lock_, mine)) return failed_call(lock_path_, "look at the lock file", error);
  identity_.lock = {mine.device, mine.inode};
  remembered_ = true;
  return {};
}

Status StoreFiles::compare() const {
  if (!remembered_) return {};
  if (Status now = same(pages_path_, identity_.pages); !now) return now;
  if (Status now = same(pages_path_ + "-wal", identity_.pages_wal); !now) return now;
  if (Status now = same(journal_path_, identity_.journal); !now) return now;
  if (Status now = same(journal_path_ + "-wal", identity_.journal_wal); !now) return now;
  return same(lock_path_, identity_.lock);
}

}  // namespace headpond::internal
