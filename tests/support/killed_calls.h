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

/// Runs the body in a process of one thread that dies at that moment, counted over its calls: even ones before a call, odd ones behind it. False:
/// the body ended before it came so far.
template <class Body>
bool killed_at_call(std::uint64_t moment, Body body) {
  Process process([&] {
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) throw std::runtime_error("ptrace is not allowed");
    ::raise(SIGSTOP);
    body();
  });
  int status = 0;
  if (::waitpid(process.pid(), &status, WUNTRACED) != process.pid() || !WIFSTOPPED(status))
    throw std::runtime_error("the process did not stop before its body");
  ::ptrace(PTRACE_SETOPTIONS, process.pid(), nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  std::uint64_t stops = 0;
  for (int signal = 0;;) {
    ::ptrace(PTRACE_SYSCALL, process.pid(), nullptr, signal);
    if (::waitpid(process.pid(), &status, 0) != process.pid() || !WIFSTOPPED(status))
      throw std::runtime_error("the process died in its body");
    signal = 0;
    if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
      signal = WSTOPSIG(status);
      continue;
    }
    user_regs_struct registers{};
    ::ptrace(PTRACE_GETREGS, process.pid(), nullptr, &registers);
    if (registers.orig_rax == SYS_exit_group) {
      ::ptrace(PTRACE_DETACH, process.pid(), nullptr, nullptr);
      EXPECT_EQ(process.wait(), 0);
      return false;
    }
    if (!changes_files(registers)) continue;
    if (stops++ == moment) return process.kill(), true;
  }
}

}  // namespace support
