#include "state_folder.h"

#include <cerrno>
#include <cstring>

namespace headpond::internal {

namespace {

constexpr std::uint64_t kPresence = 0, kExclusive = 1;

std::string default_home() {
  if (std::string home = sys::environment("HEADPOND_HOME"); !home.empty()) return home;
  if (std::string state = sys::environment("XDG_STATE_HOME"); !state.empty()) return state + "/headpond";
  std::string home = sys::home_folder();
  return home.empty() ? std::string() : home + "/.local/state/headpond";
}

Status make_parents(const std::filesystem::path& folder) {
  std::filesystem::path at;
  for (const auto& part : folder) {
    at /= part;
    if (int error = sys::make_folder(at.string(), 0700);
        error && error != EEXIST && error != EROFS && error != EACCES)
      return StateFolder::failed(at.string(), "make the folder", error);
  }
  return {};
}

}  // namespace

Result<StateFolder> StateFolder::open(const std::string& pond, const std::filesystem::path& home,
                                      bool create) {
  std::string base = home.empty() ? default_home() : home.string();
  if (base.empty())
    return Status(Code::invalid, "there is no folder for the pond's state: set HEADPOND_HOME or HOME");
  std::error_code ignored;  // the path as it was given serves, too
  if (auto absolute = std::filesystem::absolute(base, ignored); !ignored) base = absolute.string();
  StateFolder out;
  out.path_ = base + "/" + pond;
  if (create) {
    if (Status made = make_parents(base); !made) return made;
    if (int error = sys::make_folder(out.path_, 0700); error && error != EEXIST)
      return failed(out.path_, "make the state folder", error);
  }
  sys::FileInfo info;
  if (int error = sys::describe(out.path_, info)) {
    if (error == ENOENT) return Status(Code::not_found, out.path_ + ": there is no such state folder");
    return failed(out.path_, "look at the state folder", error);
  }
  if (!info.folder)
    return Status(Code::permission, out.path_ + ": is " + (info.symlink ? "a symbolic link" : "no folder") +
                                        ", and a pond's state folder must be a real one");
  if (info.uid != sys::user())
    return Status(Code::permission,
                  out.path_ + ": belongs to uid " + std::to_string(info.uid) + ", not to you");
  if (info.mode & 077)
    return Status(Code::permission, out.path_ + ": others may use it; run `chmod 700` on it");
  out.device_ = info.device, out.inode_ = info.inode;
  return out;
}

Result<sys::Fd> StateFolder::announce() const {
  sys::Fd lock;
  std::string file = path_ + "/lock";
  if (int error = sys::open_file(file, true, lock)) return failed(file, "open the lock file", error);
  if (int error = sys::try_lock(lock, kPresence, false)) {
    if (error == EAGAIN) return Status(Code::busy, file + ": the pond is being rebuilt; try again");
    return failed(file, "lock", error);
  }
  return lock;
}

Result<sys::Fd> StateFolder::alone() const {
  sys::Fd lock;
  std::string file = path_ + "/lock";
  if (int error = sys::open_file(file, true, lock)) return failed(file, "open the lock file", error);
  int error = sys::lock_waiting(lock, kPresence, 2000);
  if (!error) return lock;
  if (error != EAGAIN) return failed(file, "lock", error);
  std::string who;
  for (std::int32_t pid : sys::lock_holders(lock, kPresence))
    who += (who.empty() ? "" : ", ") + std::to_string(pid);
  return Status(Code::busy, path_ + ": the pond's segment is gone, but processes are still attached to it" +
                                (who.empty() ? "" : " (pid " + who + ")") +
                                ": its durable tier can't be opened anew before they have ended");
}

void StateFolder::share(const sys::Fd& alone) { (void)sys::try_lock(alone, kPresence, false); }

Result<sys::Fd> StateFolder::exclusive() const {
  std::string file = path_ + "/lock";
  for (;;) {
    sys::Fd lock;
    if (int error = sys::open_file(file, true, lock)) return failed(file, "open the lock file", error);
    if (int error = sys::lock_waiting(lock, kExclusive, 2000)) {
      if (error == EAGAIN)
        return Status(Code::timeout,
                      file + ": another process has been creating or removing this pond for over 2 s");
      return failed(file, "lock", error);
    }
    sys::FileInfo mine, named;  // whoever had the lock may have removed the file
    if (sys::describe(lock, mine) == 0 && sys::describe(file, named) == 0 && mine.inode == named.inode &&
        mine.device == named.device)
      return lock;
  }
}

Status StateFolder::failed(const std::string& path, const char* what, int error) {
  const bool forbidden = error == EACCES || error == EPERM || error == EROFS,
             no_room = error == ENOSPC || error == EDQUOT;
  const char* cure = forbidden ? "; every process of a pond must be able to write its folder: set "
                                 "HEADPOND_HOME to one that it may write"
                     : no_room ? "; make room"
                               : "";
  return {forbidden ? Code::permission
          : no_room ? Code::full
                    : Code::system,
          path + ": cannot " + what + ": " + std::strerror(error) + cure, error};
}

bool StateFolder::is_same() const {
  sys::FileInfo now;
  return sys::describe(path_, now) == 0 && now.device == device_ && now.inode == inode_;
}

Status StateFolder::discard() const {
  std::string file = path_ + "/lock";
  if (int error = sys::remove_name(file); error && error != ENOENT) return failed(file, "remove", error);
  if (int error = sys::remove_folder(path_);
      error && error != ENOENT && error != ENOTEMPTY && error != EEXIST)
    return failed(path_, "remove the folder", error);
  return {};
}

}  // namespace headpond::internal
