#include "sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

namespace headpond::internal::sys {

namespace {

template <class Call>
auto retried(Call call) {
  for (;;) {
    auto r = call();
    if (r != static_cast<decltype(r)>(-1) || errno != EINTR) return r;
  }
}

// Without times. Since Linux 6.13 who asks for them makes the next write give the file new ones, however soon that comes; and a file system
// without a journal writes them out with each fdatasync(), a quarter of a synced commit.
int describe_at(int folder, const char* path, int flags, FileInfo& out) {
  struct statx s;
  const unsigned asked =
      STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_UID | STATX_INO | STATX_SIZE | STATX_BLOCKS;
  if (::statx(folder, path, flags, asked, &s)) return errno;
  out.device = makedev(s.stx_dev_major, s.stx_dev_minor), out.inode = s.stx_ino, out.size = s.stx_size;
  out.blocks_bytes = s.stx_blocks * 512;
  out.uid = s.stx_uid, out.mode = s.stx_mode & 07777, out.links = s.stx_nlink;
  out.regular = S_ISREG(s.stx_mode), out.folder = S_ISDIR(s.stx_mode), out.symlink = S_ISLNK(s.stx_mode);
  return 0;
}

struct flock byte_lock(short type, std::uint64_t byte) {
  struct flock lock {};
  lock.l_type = type, lock.l_whence = SEEK_SET, lock.l_start = static_cast<off_t>(byte), lock.l_len = 1;
  return lock;
}

std::string first_line(const char* path) {
  char text[512] = {};
  Fd file(retried([&] { return ::open(path, O_RDONLY | O_CLOEXEC); }));
  if (!file) return {};
  auto n = retried([&] { return ::read(file.get(), text, sizeof text - 1); });
  if (n <= 0) return {};
  text[strcspn(text, "\n")] = 0;
  return text;
}

// Field n (from 3 on) of /proc/PID/stat; the name in parentheses may hold anything.
std::uint64_t stat_field(std::int32_t pid, int n, char* state = nullptr) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
  std::string line = first_line(path);
  auto at = line.rfind(')');
  if (at == std::string::npos) return 0;
  const char* p = line.c_str() + at + 2;
  if (state) *state = *p;
  for (int field = 3; field < n && p; field++) p = std::strchr(p, ' ') ? std::strchr(p, ' ') + 1 : nullptr;
  return p ? std::strtoull(p, nullptr, 10) : 0;
}

}  // namespace

void Fd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

int open_file(const std::string& path, bool create, Fd& out) {
  int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (create ? O_CREAT : 0);
  Fd fd(retried([&] { return ::open(path.c_str(), flags, 0600); }));
  if (!fd) return errno;
  out = std::move(fd);
  return 0;
}
int create_file(const std::string& path) {
  int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
  Fd fd(retried([&] { return ::open(path.c_str(), flags, 0600); }));
  if (!fd) return errno;
  return ::fchmod(fd.get(), 0600) ? errno : 0;  // whatever the umask is
}
int sync_folder(const std::string& path) {
  Fd folder;
  if (int error = open_folder(path, folder)) return error;
  return retried([&] { return ::fsync(folder.get()); }) ? errno : 0;
}
std::string next_of(const std::string& path) { return path + ".next"; }
int replace_file(const std::string& path, std::string_view bytes) {
  const std::string next = next_of(path);
  if (int error = remove_name(next); error && error != ENOENT) return error;
  Fd fd(retried([&] { return ::open(next.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600); }));
  if (!fd || ::fchmod(fd.get(), 0600)) return errno;
  for (std::size_t done = 0; done < bytes.size();) {
    auto n = retried([&] { return ::write(fd.get(), bytes.data() + done, bytes.size() - done); });
    if (n < 0) return errno;
    done += static_cast<std::size_t>(n);
  }
  if (retried([&] { return ::fsync(fd.get()); })) return errno;
  if (int error = rename(next, path)) return error;
  return sync_folder(path.substr(0, path.rfind('/')));
}
int open_folder(const std::string& path, Fd& out) {
  Fd fd(retried([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW); }));
  if (!fd) return errno;
  out = std::move(fd);
  return 0;
}
int make_folder(const std::string& path, std::uint32_t mode) {
  return ::mkdir(path.c_str(), mode) ? errno : 0;
}
int create_unnamed(const std::string& folder, Fd& out) {
  Fd fd(retried([&] { return ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); }));
  if (!fd) return errno;
  if (::fchmod(fd.get(), 0600)) return errno;  // whatever the umask is
  out = std::move(fd);
  return 0;
}
int give_name(const Fd& file, const std::string& path) {
  char self[64];
  std::snprintf(self, sizeof self, "/proc/self/fd/%d", file.get());
  return ::linkat(AT_FDCWD, self, AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) ? errno : 0;
}
int rename(const std::string& from, const std::string& to) {
  return ::rename(from.c_str(), to.c_str()) ? errno : 0;
}
int remove_name(const std::string& path) { return ::unlink(path.c_str()) ? errno : 0; }
int remove_folder(const std::string& path) { return ::rmdir(path.c_str()) ? errno : 0; }
int describe(const Fd& file, FileInfo& out) { return describe_at(file.get(), "", AT_EMPTY_PATH, out); }
int describe(const std::string& path, FileInfo& out) {
  return describe_at(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, out);
}
int open_again(const Fd& file, Fd& out) {
  char self[64];
  std::snprintf(self, sizeof self, "/proc/self/fd/%d", file.get());
  Fd fd(retried([&] { return ::open(self, O_RDWR | O_CLOEXEC); }));
  if (!fd) return errno;
  out = std::move(fd);
  return 0;
}
void start_writeback(int descriptor) { (void)::sync_file_range(descriptor, 0, 0, SYNC_FILE_RANGE_WRITE); }

int resize(const Fd& file, std::uint64_t bytes) {
  return retried([&] { return ::ftruncate(file.get(), static_cast<off_t>(bytes)); }) ? errno : 0;
}
int reserve(const Fd& file, std::uint64_t offset, std::uint64_t bytes) {
  for (;;) {
    int error = ::posix_fallocate(file.get(), static_cast<off_t>(offset), static_cast<off_t>(bytes));
    if (error != EINTR) return error;
  }
}
int read_at(const Fd& file, std::uint64_t offset, void* to, std::size_t bytes, std::size_t& got) {
  for (got = 0; got < bytes;) {
    auto n = retried([&] {
      return ::pread(file.get(), static_cast<char*>(to) + got, bytes - got, static_cast<off_t>(offset + got));
    });
    if (n < 0) return errno;
    if (n == 0) return 0;
    got += static_cast<std::size_t>(n);
  }
  return 0;
}
std::uint64_t free_bytes(const std::string& folder) {
  struct statvfs s;
  if (::statvfs(folder.c_str(), &s)) return 0;
  return static_cast<std::uint64_t>(s.f_bavail) * s.f_frsize;
}
std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}
std::string shm_folder() {
  std::string chosen = environment("HEADPOND_SHM");
  return chosen.empty() ? "/dev/shm" : chosen;
}
std::string home_folder() {
  std::string home = environment("HOME");
  if (!home.empty()) return home;
  char buffer[4096];
  passwd entry, *found = nullptr;
  if (::getpwuid_r(::geteuid(), &entry, buffer, sizeof buffer, &found) || !found) return {};
  return entry.pw_dir;
}

int try_lock(const Fd& file, std::uint64_t byte, bool exclusive) {
  auto lock = byte_lock(exclusive ? F_WRLCK : F_RDLCK, byte);
  if (::fcntl(file.get(), F_OFD_SETLK, &lock) == 0) return 0;
  return errno == EACCES ? EAGAIN : errno;
}
int lock_waiting(const Fd& file, std::uint64_t byte, std::uint32_t milliseconds) {
  for (std::uint64_t end = precise_us() + milliseconds * 1000ULL;;) {
    int error = try_lock(file, byte, true);
    if (error != EAGAIN || precise_us() >= end) return error;
    ::usleep(500);
  }
}
void unlock(const Fd& file, std::uint64_t byte) {
  auto lock = byte_lock(F_UNLCK, byte);
  (void)::fcntl(file.get(), F_OFD_SETLK, &lock);
}
bool locked_by_another(const Fd& file, std::uint64_t byte) {
  auto lock = byte_lock(F_WRLCK, byte);
  if (::fcntl(file.get(), F_OFD_GETLK, &lock)) return true;
  return lock.l_type != F_UNLCK;
}

namespace {

/// The names in a folder of /proc that are numbers.
std::vector<int> numbers_in(const std::string& folder) {
  std::vector<int> out;
  DIR* open = ::opendir(folder.c_str());
  if (!open) return out;
  while (const dirent* entry = ::readdir(open))
    if (int number = std::atoi(entry->d_name); number > 0 || entry->d_name[0] == '0') out.push_back(number);
  ::closedir(open);
  return out;
}

/// A line of fdinfo: "lock: 1: OFDLCK ADVISORY READ -1 08:01:1234 0 0".
bool has_lock(const std::string& fdinfo, std::uint64_t byte) {
  std::string range = " " + std::to_string(byte) + " " + std::to_string(byte) + "\n", text;
  std::FILE* file = std::fopen(fdinfo.c_str(), "re");
  if (!file) return false;
  char line[256];
  bool found = false;
  while (!found && std::fgets(line, sizeof line, file))
    text = line, found = text.starts_with("lock:") && text.ends_with(range);
  std::fclose(file);
  return found;
}

}  // namespace

std::vector<std::int32_t> lock_holders(const Fd& file, std::uint64_t byte) {
  std::vector<std::int32_t> out;
  struct stat mine {};
  if (::fstat(file.get(), &mine)) return out;
  for (int pid : numbers_in("/proc")) {
    std::string process = "/proc/" + std::to_string(pid);
    for (int fd : numbers_in(process + "/fd")) {
      struct stat theirs {};
      if (::stat((process + "/fd/" + std::to_string(fd)).c_str(), &theirs) || theirs.st_ino != mine.st_ino ||
          theirs.st_dev != mine.st_dev || !has_lock(process + "/fdinfo/" + std::to_string(fd), byte))
        continue;
      out.push_back(pid);
      break;
    }
  }
  return out;
}

int find_descriptor(const FileInfo& file) {
  for (int fd : numbers_in("/proc/self/fd")) {
    FileInfo one;
    if (describe_at(fd, "", AT_EMPTY_PATH, one) == 0 && one.device == file.device && one.inode == file.inode)
      return fd;
  }
  return -1;
}

std::uint32_t user() { return ::geteuid(); }
std::int32_t process() { return ::getpid(); }
std::uint64_t start_time(std::int32_t pid) { return stat_field(pid, 22); }
int death_signal(std::int32_t pid, std::uint64_t start) {
  char state = 0;
  if (!start || stat_field(pid, 22, &state) != start || (state != 'Z' && state != 'X')) return 0;
  return static_cast<int>(stat_field(pid, 52) & 127);
}
std::string boot_id() {
  static const std::string id = first_line("/proc/sys/kernel/random/boot_id");
  return id;
}
std::uint64_t pid_namespace() {
  struct stat s;
  return ::stat("/proc/self/ns/pid", &s) ? 0 : s.st_ino;
}
void on_fork(void (*before)(), void (*in_parent)(), void (*in_child)()) {
  ::pthread_atfork(before, in_parent, in_child);
}

const std::atomic<std::uint32_t>* process_witness() {
  struct Page {
    std::atomic<std::uint32_t>* word = nullptr;
    void make() {
      void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (page == MAP_FAILED) std::abort();
      ::madvise(page, 4096, MADV_WIPEONFORK);
      word = static_cast<std::atomic<std::uint32_t>*>(page);
      word->store(1, std::memory_order_relaxed);
    }
  };
  static std::mutex mutex;
  static Page current;
  std::lock_guard lock(mutex);
  // a child takes a new one
  if (!current.word || current.word->load(std::memory_order_relaxed) == 0) current.make();
  return current.word;
}

void keep_out_of_core_dumps(void* address, std::size_t bytes) {
  (void)::madvise(address, bytes, MADV_DONTDUMP);
}
void make_present(void* address, std::size_t bytes) {
#ifdef MADV_POPULATE_WRITE
  constexpr std::uintptr_t kPage = 4096, kFewest = 4 * kPage;
  auto begin = (reinterpret_cast<std::uintptr_t>(address) + kPage - 1) & ~(kPage - 1),
       end = (reinterpret_cast<std::uintptr_t>(address) + bytes) & ~(kPage - 1);
  if (end >= begin + kFewest)
    (void)::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_POPULATE_WRITE);
#else
  (void)address, (void)bytes;
#endif
}
bool register_barrier() {
  long commands = ::syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
  constexpr long needed = MEMBARRIER_CMD_GLOBAL_EXPEDITED | MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED;
  return commands >= 0 && (commands & needed) == needed &&
         ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
}
void barrier() {
  // was there when we registered
  if (::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0)) std::abort();
}

void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected, std::uint64_t microseconds) {
  timespec time{static_cast<time_t>(microseconds / 1'000'000),
                static_cast<long>(microseconds % 1'000'000 * 1000)};
  (void)::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT, expected, &time, nullptr,
                  0);
}
int futex_wake(std::atomic<std::uint32_t>& word, int most) {
  return static_cast<int>(
      ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAKE, most, nullptr, nullptr, 0));
}

void yield() { (void)::sched_yield(); }
void nap(std::uint64_t microseconds) { (void)::usleep(static_cast<useconds_t>(microseconds)); }

DeathWatch::DeathWatch() : wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
void DeathWatch::set(const std::vector<std::int32_t>& pids) {
  std::vector<std::pair<std::int32_t, Fd>> next;
  for (std::int32_t pid : pids) {
    auto known = std::find_if(watched_.begin(), watched_.end(), [&](auto& w) { return w.first == pid; });
    if (known != watched_.end())
      next.push_back(std::move(*known)), watched_.erase(known);
    else if (Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))); fd)
      next.emplace_back(pid, std::move(fd));
  }
  watched_ = std::move(next);
}
void DeathWatch::wait(std::uint64_t microseconds) {
  std::vector<pollfd> polls{{wake_.get(), POLLIN, 0}};
  for (auto& [pid, fd] : watched_) polls.push_back({fd.get(), POLLIN, 0});
  (void)::poll(polls.data(), polls.size(),
               static_cast<int>(std::min<std::uint64_t>(microseconds / 1000 + 1, INT_MAX)));
  std::uint64_t drained;
  (void)!::read(wake_.get(), &drained, sizeof drained);
  for (std::size_t i = polls.size() - 1; i > 0; i--)  // a dead one stays readable: forget it
    if (polls[i].revents) watched_.erase(watched_.begin() + static_cast<std::ptrdiff_t>(i - 1));
}
void DeathWatch::interrupt() {
  std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
}

}  // namespace headpond::internal::sys
