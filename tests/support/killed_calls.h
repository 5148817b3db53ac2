// A process that is killed at one of its system calls that change files: just before it, or just after.
//
//   for (std::uint64_t moment = 0; killed_at_call(moment, [&] { ...; }); ++moment) look();
#pragma once

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

#include "process.h"

namespace support {

inline bool changes_files(const user_regs_struct& registers) {
  const unsigned long long call = registers.orig_rax;
  if (call == SYS_openat) return registers.rdx & O_CREAT;
  for (long one : {SYS_write, SYS_pwrite64, SYS_fsync, SYS_fdatasync, SYS_rename, SYS_linkat, SYS_unlink,
                   SYS_mkdir, SYS_rmdir, SYS_ftruncate, SYS_fallocate})
    if (call == static_cast<unsigned long long>(one)) return true;
  return false;
}

/// A process of one thread that stands before its body, then at moments of its own choice: even ones before one of those calls, odd ones behind it.
class CallByCall {
 public:
  template <class Body>
  explicit CallByCall(Body body)
      : process_([=] {
          if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0)
            throw std::runtime_error("ptrace is not allowed");
          ::raise(SIGSTOP);
          body();
        }) {
    if (!stands() ||
        ::ptrace(PTRACE_SETOPTIONS, process_.pid(), nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) != 0)
      throw std::runtime_error("the process did not stop before its body");
  }

  /// False: the body ended before it came so far, and it runs to its end, unwatched.
  bool run_to(std::uint64_t moment) {
    for (int signal = 0;;) {
      ::ptrace(PTRACE_SYSCALL, process_.pid(), nullptr, signal);
      if (!stands()) throw std::runtime_error("the process died in its body");
      signal = WSTOPSIG(status_) == (SIGTRAP | 0x80) ? 0 : WSTOPSIG(status_);
      if (signal) continue;
      user_regs_struct registers{};
      ::ptrace(PTRACE_GETREGS, process_.pid(), nullptr, &registers);
      if (registers.orig_rax == SYS_exit_group) return go_on(), false;
      if (changes_files(registers) && moment_++ == moment) return true;
    }
  }
  void go_on() { ::ptrace(PTRACE_DETACH, process_.pid(), nullptr, nullptr); }
  void kill() { process_.kill(); }
  int wait() { return process_.wait(); }

 private:
  bool stands() {
    return ::waitpid(process_.pid(), &status_, WUNTRACED) == process_.pid() && WIFSTOPPED(status_);
  }

  Process process_;
  int status_ = 0;
  std::uint64_t moment_ = 0;
};

/// Runs the body in a process that dies at that moment. False: it ended before.
template <class Body>
bool killed_at_call(std::uint64_t moment, Body body) {
  CallByCall process(body);
  if (process.run_to(moment)) return process.kill(), true;
  EXPECT_EQ(process.wait(), 0);
  return false;
}

}  // namespace support
