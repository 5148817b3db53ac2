// What this host and this process offer to a pond, asked of the kernel. Facts only; doctor.cpp judges them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace headpond::command::host {

/// A folder and the file system under it.
struct Folder {
  std::string path;     // as asked for
  std::string nearest;  // itself, or the nearest folder above that exists
  bool exists = false;
  bool symlink = false;
  std::string problem;  // why it could not be looked at; empty: it could
  std::uint32_t owner = 0;
  std::uint32_t mode = 0;
  std::string type;  // of the file system: "tmpfs"
  std::uint64_t total_bytes = 0, free_bytes = 0, free_files = 0;
  bool read_only = false;
};
Folder look_at(const std::string& path);

/// A pond's segment in the shared-memory folder.
struct Segment {
  std::string pond;
  std::uint64_t size_bytes = 0;   // as if every page were there
  std::uint64_t taken_bytes = 0;  // that it really takes
};
std::vector<Segment> segments(const std::string& shm_folder);

/// Tries what a pond does with its files in that folder: an unnamed file, room reserved for it, a lock on one byte, a name. Answers what
/// failed, empty if nothing did.
std::string try_segment(const std::string& shm_folder);
/// Tries a lock file there.
std::string try_lock_file(const std::string& folder);

/// Answers whether the barrier that a pond uses is there.
bool has_membarrier();
/// Answers whether a process can be watched for its death.
bool has_pidfd();

std::string kernel();
std::uint32_t user();
long processors();
/// 0 if /proc does not tell.
std::uint64_t pid_namespace();
/// Whether that is the host's own one, rather than a container's.
bool is_first_pid_namespace();

/// Soft limits; none: unlimited.
struct Limits {
  std::optional<std::uint64_t> open_files, file_bytes, address_bytes;
};
Limits limits();

/// The least memory limit of this process's control groups, and what is used of it. Shared memory counts.
struct MemoryGroup {
  std::optional<std::uint64_t> limit_bytes;
  std::uint64_t used_bytes = 0;
};
MemoryGroup memory_group();

/// Whether the login manager removes this user's shared memory at the end of the last session.
bool shm_goes_at_logout();

}  // namespace headpond::command::host
