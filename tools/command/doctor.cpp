// doctor: judges what the host offers. Each finding says what is there and, if it is not right, what to do.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "commands.h"
#include "headpond/headpond.h"
#include "host.h"
#include "session.h"
#include "stream_io.h"
#include "text.h"

namespace headpond::command {

namespace {

/// What a pond takes that nobody gave a limit.
constexpr std::uint64_t kDefaultLimit = 256 << 20;

class Report {
 public:
  void good(const char* what, const std::string& found) { findings_.push_back({"ok", what, found, {}}); }
  /// It works, but may surprise.
  void note(const char* what, const std::string& found, const std::string& cure) {
    findings_.push_back({"note", what, found, cure});
  }
  void wrong(const char* what, const std::string& found, const std::string& cure) {
    findings_.push_back({"wrong", what, found, cure});
  }

  int print(const Settings& settings) const {
    const auto wrong =
        std::count_if(findings_.begin(), findings_.end(), [](const auto& f) { return f.state == "wrong"; });
    Output output;
    Json list = Json::array();
    for (const Finding& finding : findings_) {
      list.push_back({{"state", finding.state},
                      {"what", finding.what},
                      {"found", finding.found},
                      {"cure", finding.cure}});
      if (settings.json) continue;
      output.add(fmt::format("{:<6} {:<16} {}\n", finding.state, finding.what, finding.found));
      if (!finding.cure.empty()) output.add(fmt::format("{:<23} -> {}\n", "", finding.cure));
    }
    if (settings.json)
      output.add(json_line({{"wrong", wrong}, {"findings", list}}));
    else
      output.add(wrong == 0 ? "all that a pond needs is there\n" : fmt::format("{} to be cured\n", wrong));
    output.flush();
    return wrong == 0 ? kDone : kError;
  }

 private:
  struct Finding {
    std::string state, what, found, cure;
  };
  std::vector<Finding> findings_;
};

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

void look_at_shm(Report& report) {
  const std::string chosen = environment("HEADPOND_SHM");
  const std::string path = chosen.empty() ? "/dev/shm" : chosen;
  const host::Folder shm = host::look_at(path);
  if (!shm.exists || !shm.problem.empty())
    return report.wrong("shared memory", path + ": " + (shm.exists ? shm.problem : "is not there"),
                        fmt::format("mount -t tmpfs -o mode=1777 tmpfs {}", path));
  const std::string size = fmt::format("{}: {}, {} of {} free", path, shm.type, show_bytes(shm.free_bytes),
                                       show_bytes(shm.total_bytes));
  if (const std::string problem = host::try_segment(path); !problem.empty())
    return report.wrong("shared memory", size + "; " + problem,
                        fmt::format("make {} a tmpfs that this user may write, with room", path));
  if (shm.type != "tmpfs" && shm.type != "ramfs")
    report.note("shared memory", size, "a pond here is written to disk: mount a tmpfs");
  else if (shm.free_files < 16)
    report.wrong("shared memory", fmt::format("{}, {} more files", size, shm.free_files),
                 "raise nr_inodes of the tmpfs");
  else if (shm.free_bytes < kDefaultLimit)
    report.note(
        "shared memory", size,
        fmt::format("a pond with the default limit of {} may meet `full` early: docker run --shm-size=1g, "
                    "mount -o remount,size=1g {}, or create --limit",
                    show_bytes(kDefaultLimit), path));
  else
    report.good("shared memory", size);

  for (const host::Segment& segment : host::segments(path))
    report.good("pond", fmt::format("{} takes {} of at most {}", segment.pond,
                                    show_bytes(segment.taken_bytes), show_bytes(segment.size_bytes)));

  const host::MemoryGroup group = host::memory_group();
  if (group.limit_bytes) {
    const std::uint64_t left = *group.limit_bytes - std::min(*group.limit_bytes, group.used_bytes);
    const std::string found = fmt::format("{} of {} left in this control group, shared memory counts",
                                          show_bytes(left), show_bytes(*group.limit_bytes));
    if (left < kDefaultLimit)
      report.note("memory limit", found, "raise the container's memory limit, or create --limit");
    else
      report.good("memory limit", found);
  }
  if (host::shm_goes_at_logout())
    report.note("logout", "the login manager removes this user's shared memory when the last session ends",
                "loginctl enable-linger, or RemoveIPC=no in /etc/systemd/logind.conf");
}

std::string state_home() {
  if (const std::string home = environment("HEADPOND_HOME"); !home.empty()) return home;
  if (const std::string state = environment("XDG_STATE_HOME"); !state.empty()) return state + "/headpond";
  const std::string home = environment("HOME");
  return (home.empty() ? "/" : home) + "/.local/state/headpond";
}

void look_at_state_folder(Report& report) {
  const std::string path = state_home();
  const host::Folder folder = host::look_at(path);
  if (!folder.problem.empty())
    return report.wrong("state folder", folder.problem, "set HEADPOND_HOME to a folder of this user");
  const std::string found = fmt::format("{}{}: {}, {} free", path, folder.exists ? "" : " (to be made)",
                                        folder.type, show_bytes(folder.free_bytes));
  if (folder.read_only || ::access(folder.nearest.c_str(), W_OK | X_OK) != 0)
    return report.wrong("state folder", found + "; it cannot be written",
                        "set HEADPOND_HOME to a folder of this user");
  if (folder.exists && folder.owner != host::user())
    return report.wrong("state folder", fmt::format("{}; it belongs to user {}", found, folder.owner),
                        "set HEADPOND_HOME to a folder of this user");
  if (folder.exists && (folder.mode & 022u) != 0)
    return report.wrong("state folder",
                        fmt::format("{}; others may write it (mode {:04o})", found, folder.mode),
                        fmt::format("chmod 700 {}", path));
  static const std::set<std::string> kRemote = {"nfs", "smb", "cifs", "smb2", "9p", "fuse", "afs", "ceph"};
  if (const std::string problem = host::try_lock_file(folder.nearest); !problem.empty())
    return report.wrong("state folder", found + "; " + problem,
                        "set HEADPOND_HOME to a folder on a local disk");
  if (kRemote.contains(folder.type))
    return report.note(
        "state folder", found,
        "this may be a network's file system, whose locks are slow or missing: a local disk is safer");
  if (folder.free_bytes < (1u << 20))
    return report.wrong("state folder", found + "; there is no room for what is durable or spilled",
                        "make room");
  if (folder.free_bytes < (64u << 20)) return report.note("state folder", found, "little room is left");
  report.good("state folder", found);
}

void look_at_kernel(Report& report) {
  report.good("kernel", fmt::format("{}, {} processors", host::kernel(), host::processors()));
  if (host::has_membarrier())
    report.good("membarrier", "there");
  else
    report.note("membarrier", "not there (seccomp, or a kernel before 4.16)",
                "ponds made here work, somewhat slower; allow the system call membarrier");
  if (host::has_pidfd())
    report.good("pidfd", "there");
  else
    report.note("pidfd", "not there (seccomp, or a kernel before 5.3)",
                "deaths are noticed a little later; allow pidfd_open");

  const std::uint64_t space = host::pid_namespace();
  if (space == 0)
    report.wrong("pid namespace", "/proc does not tell it", "mount /proc");
  else if (host::is_first_pid_namespace())
    report.good("pid namespace", fmt::format("{}, the host's own", space));
  else
    report.good(
        "pid namespace",
        fmt::format("{}, a container's: all users of a pond must be in it (docker run --pid)", space));
}

void look_at_limits(Report& report) {
  const host::Limits limits = host::limits();
  if (limits.open_files && *limits.open_files < 32)
    report.wrong("open files", show_count(*limits.open_files), "ulimit -n 1024");
  else
    report.good("open files", limits.open_files ? show_count(*limits.open_files) : "unlimited");
  if (limits.file_bytes)
    report.wrong("file size",
                 fmt::format("at most {}, segments included: larger ones end the process by SIGXFSZ",
                             show_bytes(*limits.file_bytes)),
                 "ulimit -f unlimited");
  else
    report.good("file size", "unlimited");
  if (limits.address_bytes)
    report.note("address space", show_bytes(*limits.address_bytes),
                "a pond maps its whole limit: ulimit -v unlimited");
  else
    report.good("address space", "unlimited");
}

/// What to do about a pond that cannot be used. Nothing that would lose what it holds, where it is not at fault.
const char* cure(Code code) {
  switch (code) {
    case Code::corruption:
    case Code::unsupported:
      return "keep a copy of its state folder; headpond rm, once nobody needs what it holds, takes it away";
    case Code::timeout:
    case Code::busy: return "end the process that keeps it, or let it go on, and try again";
    default: return "cure what the message says, and try again: what the pond holds is kept";
  }
}

/// Attaches to the pond that is asked for, if it is there.
void look_at_pond(const Settings& settings, Report& report) {
  const auto pond = Pond::open_existing(settings.pond);
  if (pond.code() == Code::not_found) return report.good("this pond", settings.pond + " is not there yet");
  if (!pond) return report.wrong("this pond", pond.status().text(), cure(pond.code()));
  const auto stats = pond->stats();
  if (!stats) return report.wrong("this pond", stats.status().text(), "headpond verify");
  if (const Status& trouble = stats->durable.trouble; !trouble)
    return report.wrong("this pond", trouble.text(), cure(trouble.code()));
  const std::string found =
      fmt::format("{}: {} of {} in use, {} of {} participants", settings.pond, show_bytes(stats->page_bytes),
                  show_bytes(stats->limit_bytes), stats->participants, stats->max_participants);
  if (stats->page_bytes > stats->limit_bytes / 10 * 9)
    return report.note("this pond", found, "nearly full: headpond ls shows what fills it");
  if (stats->participants > stats->max_participants / 10 * 9)
    return report.note(
        "this pond", found,
        "nearly no room for more processes: create --max-participants fixes it for a new pond");
  report.good("this pond", found);
}

}  // namespace

int doctor(const Settings& settings, const NoRequest&) {
  Report report;
  look_at_kernel(report);
  look_at_shm(report);
  look_at_state_folder(report);
  look_at_limits(report);
  look_at_pond(settings, report);
  return report.print(settings);
}

}  // namespace headpond::command
