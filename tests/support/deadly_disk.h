// A disk under SQLite that kills the process: at its n-th write, truncation, opening or removal of a file, before or after that.
//
//   Shared<DeadlyDisk::Calls> calls;
//   Process victim([&] { DeadlyDisk::arm(*calls, 17); ...; });      // killed in its 18th call; `never`: only counted
#pragma once

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <stdexcept>

namespace support {

class DeadlyDisk {
 public:
  using Calls = std::atomic<std::uint64_t>;
  static constexpr std::uint64_t never = UINT64_MAX;

  /// For the process that calls it, once. Even numbers die before call n / 2, odd ones after it.
  static void arm(Calls& calls, std::uint64_t moment) {
    calls_ = &calls, moment_ = moment;
    sqlite3_vfs* vfs = sqlite3_vfs_find(nullptr);
    take(vfs, "pwrite64", real_write_, write);
    take(vfs, "pwrite", real_write_, write);
    take(vfs, "ftruncate", real_truncate_, truncate);
    take(vfs, "unlink", real_unlink_, unlink);
    take(vfs, "open", real_open_, open);
    if (!real_write_) throw std::runtime_error("this SQLite lets nobody between it and the disk");
  }

 private:
  template <class Function>
  static void take(sqlite3_vfs* vfs, const char* name, Function*& real, Function* mine) {
    auto found = reinterpret_cast<Function*>(vfs->xGetSystemCall(vfs, name));
    if (!found) return;  // another name here
    real = found;
    vfs->xSetSystemCall(vfs, name, reinterpret_cast<sqlite3_syscall_ptr>(mine));
  }
  template <class Call>
  static auto count(Call call) {
    std::uint64_t number = calls_->fetch_add(1);
    if (number * 2 == moment_) ::kill(::getpid(), SIGKILL);
    auto answer = call();
    if (number * 2 + 1 == moment_) ::kill(::getpid(), SIGKILL);
    return answer;
  }
  static ssize_t write(int fd, const void* data, size_t bytes, off_t at) {
    return count([&] { return real_write_(fd, data, bytes, at); });
  }
  static int truncate(int fd, off_t size) {
    return count([&] { return real_truncate_(fd, size); });
  }
  static int unlink(const char* path) {
    return count([&] { return real_unlink_(path); });
  }
  static int open(const char* path, int flags, int mode) {
    return count([&] { return real_open_(path, flags, mode); });
  }

  inline static Calls* calls_ = nullptr;
  inline static std::uint64_t moment_ = never;
  inline static ssize_t (*real_write_)(int, const void*, size_t, off_t) = nullptr;
  inline static int (*real_truncate_)(int, off_t) = nullptr;
  inline static int (*real_unlink_)(const char*) = nullptr;
  inline static int (*real_open_)(const char*, int, int) = nullptr;
};

}  // namespace support
