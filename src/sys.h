// Every system call of the library, in one file: the seam at which tests put faults. Thin: an int is 0 or an errno.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace headpond::internal::sys {

/// Owns a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { reset(); }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_ = -1;
};

struct FileInfo {
  std::uint64_t device = 0, inode = 0, size = 0, blocks_bytes = 0;
  std::uint32_t uid = 0, mode = 0, links = 0;
  bool regular = false, folder = false, symlink = false;
};

// ------------------------------------------------------------------------------------------------------------------ files
int open_file(const std::string& path, bool create, Fd& out);  // read-write, 0600, O_NOFOLLOW
int create_file(const std::string& path);                      // 0600, O_EXCL: EEXIST if there is one
int open_folder(const std::string& path, Fd& out);             // O_NOFOLLOW
int sync_folder(const std::string& path);                      // its names are on disk
/// The file of that name has these bytes, 0600, or what it had before: also after a power cut. REQUIRES: one caller at a time. Who is killed may
/// leave next_of() it, which the next one overwrites.
int replace_file(const std::string& path, std::string_view bytes);
std::string next_of(const std::string& path);
int make_folder(const std::string& path, std::uint32_t mode);
int create_unnamed(const std::string& folder, Fd& out);  // a file without a name, 0600
int give_name(const Fd& file, const std::string& path);  // EEXIST if it is taken
int remove_name(const std::string& path);
int rename(const std::string& from, const std::string& to);  // replaces what is there
int remove_folder(const std::string& path);
int describe(const Fd& file, FileInfo& out);
int describe(const std::string& path, FileInfo& out);  // of a symbolic link itself
int open_again(const Fd& file, Fd& out);               // a description of its own of the same file
int resize(const Fd& file, std::uint64_t bytes);
void start_writeback(int descriptor);  // of all that is dirty, without waiting for it
/// A descriptor of this process that stands for this file; -1: none. It is somebody else's, and may go at any time: for hints only.
int find_descriptor(const FileInfo& file);
int reserve(const Fd& file, std::uint64_t offset, std::uint64_t bytes);  // ENOSPC instead of SIGBUS later
int read_at(const Fd& file, std::uint64_t offset, void* to, std::size_t bytes, std::size_t& got);
std::uint64_t free_bytes(const std::string& folder);
std::string shm_folder();  // $HEADPOND_SHM, else /dev/shm
std::string environment(const char* name);
std::string home_folder();

// Locks on one byte of an open file description: gone with it, also when the process is killed.
int try_lock(const Fd& file, std::uint64_t byte, bool exclusive);  // EAGAIN if another has it
// exclusive; EAGAIN after that time
int lock_waiting(const Fd& file, std::uint64_t byte, std::uint32_t milliseconds);
void unlock(const Fd& file, std::uint64_t byte);
/// Processes of this user that hold a lock on exactly this byte, by any of their descriptors. A snapshot; those that can't be seen are missing.
std::vector<std::int32_t> lock_holders(const Fd& file, std::uint64_t byte);
bool locked_by_another(const Fd& file, std::uint64_t byte);  // unknown counts as locked

// -------------------------------------------------------------------------------------------------------------- processes
std::uint32_t user();
std::int32_t process();
std::uint64_t start_time(std::int32_t pid);  // 0: no such process
// of one that nobody has waited for yet; 0: unknown
int death_signal(std::int32_t pid, std::uint64_t start_time);
std::string boot_id();
std::uint64_t pid_namespace();
void on_fork(void (*before)(), void (*in_parent)(), void (*in_child)());

/// A private page that reads 0 in a child: `*witness == 1` says that this process is the one that made it.
const std::atomic<std::uint32_t>* process_witness();

// ----------------------------------------------------------------------------------------------------------------- memory
void keep_out_of_core_dumps(void* address, std::size_t bytes);
/// Touches the whole 4 KiB in this range, if there are enough of them to pay a system call; what is in them stays. A hint.
void make_present(void* address, std::size_t bytes);
bool register_barrier();  // false: the kernel has none
// every thread of every registered process has passed a full barrier when this returns
void barrier();

// ---------------------------------------------------------------------------------------------------------------- waiting
/// Sleeps while *word == expected, at most that long. May wake for no reason.
void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected, std::uint64_t microseconds);
int futex_wake(std::atomic<std::uint32_t>& word, int most);  // how many were woken

void nap(std::uint64_t microseconds);
void yield();  // to whoever else is ready to run on this core

/// Sleeps until one of these processes is dead, `stop` is readable or the time is over. True: look.
class DeathWatch {
 public:
  DeathWatch();
  /// Watches exactly these from now on.
  void set(const std::vector<std::int32_t>& pids);
  void wait(std::uint64_t microseconds);
  void interrupt();

 private:
  Fd wake_;
  std::vector<std::pair<std::int32_t, Fd>> watched_;
};

// ------------------------------------------------------------------------------------------------------------------ clocks
inline std::uint64_t clock_us(clockid_t id) {
  timespec t;
  clock_gettime(id, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(t.tv_nsec) / 1000;
}
inline std::uint64_t coarse_us() { return clock_us(CLOCK_MONOTONIC_COARSE); }  // 3 ns, steps of 4 ms
inline std::uint64_t precise_us() { return clock_us(CLOCK_MONOTONIC); }        // 30 ns
/// For tests: how far this process's wall clock is ahead.
inline std::atomic<std::uint64_t> wall_ahead_ms{0};
inline std::uint64_t wall_ms() {
  return clock_us(CLOCK_REALTIME_COARSE) / 1000 + wall_ahead_ms.load(std::memory_order_relaxed);
}

inline void relax() { __builtin_ia32_pause(); }

}  // namespace headpond::internal::sys
