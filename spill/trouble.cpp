#include "trouble.h"

#include <cerrno>
#include <cstring>

namespace headpond::internal {

namespace {

Status cannot_open(const sqlite::Fault& fault, const std::string& begin) {
  int error = fault.error_number;
  if (error == EACCES || error == EPERM)
    return {Code::permission, begin + ": it may not be opened; run `chmod 600` on the file", error};
  if (error == EROFS) return {Code::permission, begin + ": the file system is mounted read-only", error};
  std::string why = error ? std::strerror(error) : fault.text;
  return {Code::system, begin + ": it cannot be opened (" + why + ")", error};
}

}  // namespace

Status explain(const sqlite::Fault& fault, const std::string& path, const char* doing) {
  using sqlite::Trouble;
  std::string begin = path + ": cannot " + doing;
  switch (fault.trouble) {
    case Trouble::busy:
      return {Code::timeout,
              begin + ": another program keeps the database locked; nothing but headpond may use it"};
    case Trouble::full:
      return {Code::full, begin + ": its file system is full, or a quota or size limit is reached; make room",
              fault.error_number};
    case Trouble::read_only:
      return {Code::permission,
              begin + ": it may not be written; run `chmod 600` on it and `chmod 700` on its folder",
              fault.error_number};
    case Trouble::cannot_open: return cannot_open(fault, begin);
    case Trouble::damaged:
      return damaged(path, std::string("cannot ") + doing + ": the file is damaged (" + fault.text + ")");
    case Trouble::foreign: return damaged(path, "is no database (" + fault.text + ")");
    case Trouble::sync_failed:
      return {Code::system, begin + ": the disk failed to write (" + fault.text + "); look at its health",
              fault.error_number};
    case Trouble::too_big: return {Code::too_large, begin + ": " + fault.text};
    default:
      return {Code::system,
              begin + ": " + fault.text +
                  (fault.error_number ? std::string(": ") + std::strerror(fault.error_number) : ""),
              fault.error_number};
  }
}

Status failed_call(const std::string& path, const char* doing, int error) {
  Code code = error == EACCES || error == EPERM || error == EROFS ? Code::permission
              : error == ENOSPC || error == EDQUOT                ? Code::full
                                                                  : Code::system;
  return {code, path + ": cannot " + doing + ": " + std::strerror(error), error};
}

Status damaged(const std::string& path, const std::string& what) {
  return {Code::corruption,
          path + ": " + what +
              "; nothing is written to it any more: keep a copy of the folder, and restore the files "
              "from a backup or remove all of them"};
}

Status wal_gone(const std::string& wal) {
  return {
      Code::corruption,
      wal +
          ": was deleted or replaced; nothing is written beside it any more. Put it back; or, if a foreign "
          "program opened and closed the database, which copies it there and deletes it: stop the pond's "
          "processes, run `headpond rm --keep-state`, which loses what is in memory alone, and open the "
          "pond: it is rebuilt from the databases"};
}

}  // namespace headpond::internal
