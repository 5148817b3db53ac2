#include "host.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <linux/membarrier.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace headpond::command::host {

namespace fs = std::filesystem;

namespace {

/// Closes a descriptor at the end.
struct File {
  int fd;
  ~File() {
    if (fd >= 0) ::close(fd);
  }
};

std::string why(const char* what) { return fmt::format("{}: {}", what, std::strerror(errno)); }

/// A lock on one byte, of the kind that ends with its open file description.
bool lock_byte(int fd) {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = off_t{1} << 62;
  lock.l_len = 1;
  return ::fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

std::string type_name(long magic) {
  switch (static_cast<unsigned long>(magic) & 0xFFFFFFFFu) {
    case TMPFS_MAGIC: return "tmpfs";
    case RAMFS_MAGIC: return "ramfs";
    case HUGETLBFS_MAGIC: return "hugetlbfs";
    case EXT4_SUPER_MAGIC: return "ext4";
    case XFS_SUPER_MAGIC: return "xfs";
    case BTRFS_SUPER_MAGIC: return "btrfs";
    case F2FS_SUPER_MAGIC: return "f2fs";
    case OVERLAYFS_SUPER_MAGIC: return "overlay";
    case NFS_SUPER_MAGIC: return "nfs";
    case SMB_SUPER_MAGIC: return "smb";
    case CIFS_SUPER_MAGIC: return "cifs";
    case SMB2_SUPER_MAGIC: return "smb2";
    case V9FS_MAGIC: return "9p";
    case FUSE_SUPER_MAGIC: return "fuse";
    case AFS_SUPER_MAGIC: return "afs";
    case CEPH_SUPER_MAGIC: return "ceph";
    case 0x2FC12FC1: return "zfs";
    default: return fmt::format("type {:#x}", magic);
  }
}

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::optional<std::uint64_t> read_limit(const fs::path& path) {
  const std::string text = first_line(path);
  if (text.empty() || text == "max") return {};
  const std::uint64_t value = std::strtoull(text.c_str(), nullptr, 10);
  // The old control groups say "no limit" with a number near 2^63.
  return value < (1ULL << 60) ? std::optional(value) : std::nullopt;
}

/// The folders of this process's memory control groups: its own and those above it.
std::vector<fs::path> memory_folders() {
  std::ifstream file("/proc/self/cgroup");
  std::vector<fs::path> folders;
  for (std::string line; std::getline(file, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool unified = controllers.empty();
    if (!unified && controllers != "memory") continue;
    const fs::path root = unified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    for (fs::path path = fs::path(line.substr(second + 1)).relative_path();; path = path.parent_path()) {
      folders.push_back(root / path);
      if (path.empty()) break;
    }
  }
  return folders;
}

}  // namespace

Folder look_at(const std::string& path) {
  Folder folder;
  folder.path = path;
  std::error_code error;
  folder.symlink = fs::is_symlink(path, error);
  fs::path nearest = fs::absolute(path, error);
  while (!fs::exists(nearest, error) && nearest.has_relative_path()) nearest = nearest.parent_path();
  folder.nearest = nearest.string();
  folder.exists = fs::exists(path, error);
  struct stat file = {};
  struct statfs system = {};
  if (::stat(folder.nearest.c_str(), &file) != 0 || ::statfs(folder.nearest.c_str(), &system) != 0) {
    folder.problem = why(folder.nearest.c_str());
    return folder;
  }
  if (!S_ISDIR(file.st_mode)) folder.problem = folder.nearest + " is not a folder";
  folder.owner = file.st_uid;
  folder.mode = file.st_mode & 07777u;
  folder.type = type_name(system.f_type);
  const auto block = static_cast<std::uint64_t>(system.f_frsize > 0 ? system.f_frsize : system.f_bsize);
  folder.total_bytes = system.f_blocks * block;
  folder.free_bytes = system.f_bavail * block;
  folder.free_files = system.f_files == 0 ? UINT64_MAX : system.f_ffree;  // some count none
  folder.read_only = (system.f_flags & 1) != 0;                           // ST_RDONLY
  return folder;
}

std::vector<Segment> segments(const std::string& shm_folder) {
  const std::string prefix = fmt::format("headpond.{}.", user());
  std::vector<Segment> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(shm_folder, error)) {
    const std::string name = entry.path().filename().string();
    struct stat file = {};
    if (!name.starts_with(prefix) || ::lstat(entry.path().c_str(), &file) != 0) continue;
    found.push_back({name.substr(prefix.size()), static_cast<std::uint64_t>(file.st_size),
                     static_cast<std::uint64_t>(file.st_blocks) * 512});
  }
  return found;
}

std::string try_segment(const std::string& shm_folder) {
  File file{::open(shm_folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
  if (file.fd < 0) return why("a file without a name cannot be made");
  if (const int error = ::posix_fallocate(file.fd, 0, 1 << 20))
    return fmt::format("no room can be reserved: {}", std::strerror(error));
  if (!lock_byte(file.fd)) return why("a byte cannot be locked");
  const std::string name = fmt::format("{}/headpond.{}.-doctor-{}", shm_folder, user(), ::getpid());
  const std::string self = fmt::format("/proc/self/fd/{}", file.fd);
  if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) != 0)
    return why("a file cannot be given a name (is /proc mounted?)");
  ::unlink(name.c_str());
  return {};
}

std::string try_lock_file(const std::string& folder) {
  std::string path = folder + "/.headpond-doctor-XXXXXX";
  File file{::mkostemp(path.data(), O_CLOEXEC)};
  if (file.fd < 0) return why("a file cannot be made");
  const bool locked = lock_byte(file.fd);
  const std::string problem = locked ? "" : why("a byte cannot be locked");
  ::unlink(path.c_str());
  return problem;
}

bool has_membarrier() {
  const long commands = ::syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
  constexpr long needed = MEMBARRIER_CMD_GLOBAL_EXPEDITED | MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED;
  return commands >= 0 && (commands & needed) == needed;
}

bool has_pidfd() { return File{static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0))}.fd >= 0; }

std::string kernel() {
  utsname name = {};
  ::uname(&name);
  return fmt::format("{} {} {}", name.sysname, name.release, name.machine);
}

std::uint32_t user() { return ::geteuid(); }

long processors() { return ::sysconf(_SC_NPROCESSORS_ONLN); }

std::uint64_t pid_namespace() {
  struct stat file = {};
  return ::stat("/proc/self/ns/pid", &file) == 0 ? file.st_ino : 0;
}

bool is_first_pid_namespace() { return pid_namespace() == 0xEFFFFFFCu; }  // the kernel's fixed number for it

Limits limits() {
  const auto soft = [](auto which) -> std::optional<std::uint64_t> {
    rlimit limit = {};
    if (::getrlimit(which, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return {};
    return limit.rlim_cur;
  };
  return {soft(RLIMIT_NOFILE), soft(RLIMIT_FSIZE), soft(RLIMIT_AS)};
}

MemoryGroup memory_group() {
  MemoryGroup least;
  for (const fs::path& folder : memory_folders()) {
    for (const auto& [limit_name, used_name] :
         {std::pair("memory.max", "memory.current"),
          std::pair("memory.limit_in_bytes", "memory.usage_in_bytes")}) {
      const auto limit = read_limit(folder / limit_name);
      if (!limit || (least.limit_bytes && *limit >= *least.limit_bytes)) continue;
      least = {limit, read_limit(folder / used_name).value_or(0)};
    }
  }
  return least;
}

bool shm_goes_at_logout() {
  // Services and root keep theirs; so does a user who may linger.
  std::error_code error;
  if (user() < 1000 || !fs::exists("/run/systemd/system", error)) return false;
  const passwd* entry = ::getpwuid(user());
  if (entry != nullptr && fs::exists(fs::path("/var/lib/systemd/linger") / entry->pw_name, error))
    return false;
  std::ifstream file("/etc/systemd/logind.conf");
  bool removes = true;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("RemoveIPC="))
      removes = line != "RemoveIPC=no" && line != "RemoveIPC=false" && line != "RemoveIPC=0";
  }
  return removes;
}

}  // namespace headpond::command::host
