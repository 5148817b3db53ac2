#include "stepper.h"

#include <dlfcn.h>
#include <link.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <unordered_map>

// of the linker: where this program's code begins and ends
extern "C" const char __executable_start, etext;

namespace crash {

namespace {

constexpr int kForbidden = 97;
constexpr std::uint64_t kLongest = 5'000'000;  // instructions
constexpr int kWindow = 64;                    // the widest store

std::uint64_t register_of(const user_regs_struct& r, int number) {
  const unsigned long long values[16] = {r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi,
                                         r.r8,  r.r9,  r.r10, r.r11, r.r12, r.r13, r.r14, r.r15};
  return values[number & 15];
}

bool in_this_program(std::uint64_t pc) {
  return pc >= reinterpret_cast<std::uint64_t>(&__executable_start) &&
         pc < reinterpret_cast<std::uint64_t>(&etext);
}

/// In the vDSO, whose clocks go their way now with more, now with fewer instructions.
bool is_clock(std::uint64_t pc) {
  static const std::uint64_t vdso = ::getauxval(AT_SYSINFO_EHDR);
  return pc >= vdso && pc < vdso + 0x4000;
}

}  // namespace

// ------------------------------------------------------------------------------------------------------------- instructions
//
// Only so much of an instruction is decoded as tells where its memory operand lies. Whether it loads or stores there is seen by comparing the
// bytes before and after. The child is a fork: its code is ours, at the same addresses.
struct Tracee::Instruction {
  bool memory = false, string = false, repeated = false, system_call = false, breakpoint = false, fs = false;
  int base = -1, index = -1, scale = 1;
  std::int64_t displacement = 0;
  int length = 0;  // of string instructions only

  std::uint64_t address(const user_regs_struct& r) const {
    if (string) return r.rdi;
    std::uint64_t out = static_cast<std::uint64_t>(displacement);
    if (base >= 0) out += register_of(r, base);
    if (index >= 0) out += register_of(r, index) * static_cast<std::uint64_t>(scale);
    return fs ? out + r.fs_base : out;
  }
};

const Tracee::Instruction& Tracee::decode(std::uint64_t pc) {
  static std::unordered_map<std::uint64_t, Instruction> known;
  auto [place, fresh] = known.try_emplace(pc);
  if (!fresh) return place->second;
  Instruction& out = place->second;
  const auto* begin = reinterpret_cast<const std::uint8_t*>(pc);
  const std::uint8_t* p = begin;
  bool repeat = false;
  for (;; p++) {
    if (*p == 0xf2 || *p == 0xf3)
      repeat = true;
    else if (*p == 0x64)
      out.fs = true;
    else if (*p != 0x66 && *p != 0x67 && *p != 0xf0 && *p != 0x2e && *p != 0x36 && *p != 0x3e && *p != 0x26 &&
             *p != 0x65)
      break;
  }
  bool rex_x = false, rex_b = false, has_modrm = false;
  int compressed = 1;  // what an 8-bit displacement counts
  if ((*p & 0xf0) == 0x40) rex_x = *p & 2, rex_b = *p & 1, p++;
  if (*p == 0xc5) {
    p += 3, has_modrm = true;
  } else if (*p == 0xc4) {
    rex_x = !(p[1] & 0x40), rex_b = !(p[1] & 0x20), p += 4, has_modrm = true;
  } else if (*p == 0x62) {
    rex_x = !(p[1] & 0x40), rex_b = !(p[1] & 0x20), compressed = 16 << (p[3] >> 5 & 3), p += 5,
    has_modrm = true;
  } else if (*p == 0x0f) {
    p++;
    if (*p == 0x38 || *p == 0x3a)
      p++, has_modrm = true;
    else if (*p == 0x05)
      out.system_call = true;
    else
      has_modrm = !((*p >= 0x80 && *p <= 0x8f) || (*p >= 0xc8 && *p <= 0xcf) || (*p >= 0x30 && *p <= 0x37) ||
                    *p == 0x0b || *p == 0x31 || *p == 0x77 || *p == 0xa0 || *p == 0xa1 || *p == 0xa2 ||
                    *p == 0xa8 || *p == 0xa9);
    p++;
  } else {
    std::uint8_t op = *p++;
    out.breakpoint = op == 0xcc;
    if (op == 0xa4 || op == 0xa5 || op == 0xaa || op == 0xab) {
      out.memory = out.string = true, out.repeated = repeat, out.length = static_cast<int>(p - begin);
      return out;
    }
    has_modrm = (op < 0x40 && (op & 7) < 4) || op == 0x63 || op == 0x69 || op == 0x6b ||
                (op >= 0x80 && op <= 0x8f) || op == 0xc0 || op == 0xc1 || op == 0xc6 || op == 0xc7 ||
                (op >= 0xd0 && op <= 0xd3) || (op >= 0xd8 && op <= 0xdf) || op == 0xf6 || op == 0xf7 ||
                op == 0xfe || op == 0xff;
  }
  if (!has_modrm) return out;
  std::uint8_t modrm = *p++;
  int mod = modrm >> 6, rm = modrm & 7;
  if (mod == 3 || (mod == 0 && rm == 5)) return out;  // a register, or a place in the program itself
  out.memory = true;
  int base = rm;
  if (rm == 4) {
    std::uint8_t sib = *p++;
    base = sib & 7;
    int index = (sib >> 3 & 7) | (rex_x ? 8 : 0);
    if (index != 4) out.index = index, out.scale = 1 << (sib >> 6);
  }
  bool no_base = rm == 4 && base == 5 && mod == 0;
  if (!no_base) out.base = base | (rex_b ? 8 : 0);
  if (mod == 1) {
    out.displacement = static_cast<std::int8_t>(*p) * compressed;
  } else if (mod == 2 || no_base) {
    std::int32_t wide;
    std::memcpy(&wide, p, 4);
    out.displacement = wide;
  }
  return out;
}

// -------------------------------------------------------------------------------------------------------------------- child

Tracee::Tracee(const Body& body, std::pair<const void*, std::size_t> watched) {
  std::fflush(nullptr);
  pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(98);
    if (::ptrace(PTRACE_TRACEME, 0, 0, 0)) ::_exit(kForbidden);
    try {
      body.prepare();
      __asm__ volatile("int3" ::: "memory");
      body.operation();
      __asm__ volatile("int3" ::: "memory");
    } catch (const std::exception& e) {
      std::fprintf(stderr, "the process under test: %s\n", e.what());
      ::_exit(99);
    }
    ::_exit(0);
  }
  int status = 0;
  if (::waitpid(pid_, &status, 0) != pid_ || !WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP) {
    dead_ = !WIFSTOPPED(status);
    if (WIFEXITED(status) && WEXITSTATUS(status) == kForbidden)
      throw PtraceForbidden(
          "ptrace(2) is forbidden here, so that no process can be killed at an instruction. In a container "
          "allow it (--cap-add=SYS_PTRACE, or a seccomp profile with ptrace); on the host see "
          "kernel.yama.ptrace_scope");
    std::string how = WIFEXITED(status)     ? "exited with " + std::to_string(WEXITSTATUS(status))
                      : WIFSIGNALED(status) ? "was killed by signal " + std::to_string(WTERMSIG(status))
                                            : "stopped by signal " + std::to_string(WSTOPSIG(status));
    kill();
    throw std::runtime_error("the process under test " + how + " before its operation");
  }
  ::ptrace(PTRACE_SETOPTIONS, pid_, 0, PTRACE_O_EXITKILL);
  void* robust = nullptr;
  std::size_t length = 0;
  ::syscall(SYS_get_robust_list, pid_, &robust, &length);
  auto range = [&](const void* at, std::size_t bytes) {
    ranges_.emplace_back(reinterpret_cast<std::uint64_t>(at), reinterpret_cast<std::uint64_t>(at) + bytes);
  };
  if (robust) range(robust, 24);
  if (watched.second) range(watched.first, watched.second);
  fixed_ranges_ = ranges_.size();
  find_segments();
}

void Tracee::find_segments() {
  ranges_.resize(fixed_ranges_);
  std::string path = "/proc/" + std::to_string(pid_) + "/maps";
  std::unique_ptr<FILE, int (*)(FILE*)> maps(std::fopen(path.c_str(), "r"), std::fclose);
  char line[512];
  while (maps && std::fgets(line, sizeof line, maps.get())) {
    unsigned long long from, to;
    if (std::strstr(line, " /dev/shm/") && std::sscanf(line, "%llx-%llx", &from, &to) == 2)
      ranges_.emplace_back(from, to);
  }
}

bool Tracee::watches(std::uint64_t address) const {
  for (auto [from, to] : ranges_)
    if (address + kWindow > from && address < to) return true;
  return false;
}

void Tracee::kill(bool keep_zombie) {
  if (!dead_) {
    ::kill(pid_, SIGKILL);
    siginfo_t info;
    while (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) < 0 && errno == EINTR) {
    }
    dead_ = zombie_ = true;
  }
  if (!keep_zombie) bury();
}

void Tracee::bury() {
  if (!zombie_) return;
  zombie_ = false;
  int status;
  while (::waitpid(pid_, &status, __WALL) == pid_ && !WIFEXITED(status) && !WIFSIGNALED(status)) {
  }
}

// ----------------------------------------------------------------------------------------------------------------- stepping

void Tracee::registers(user_regs_struct& out) const {
  if (::ptrace(PTRACE_GETREGS, pid_, 0, &out))
    throw std::runtime_error(std::string("PTRACE_GETREGS: ") + std::strerror(errno));
}

void Tracee::resume(int request) {
  for (;;) {
    if (::ptrace(static_cast<__ptrace_request>(request), pid_, 0, 0))
      throw std::runtime_error(std::string("ptrace: ") + std::strerror(errno));
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFSTOPPED(status)) {
      dead_ = true;
      throw std::runtime_error(
          WIFSIGNALED(status) ? "the operation itself was ended by signal " + std::to_string(WTERMSIG(status))
                              : "the operation itself exited with " + std::to_string(WEXITSTATUS(status)));
    }
    if (WSTOPSIG(status) == SIGTRAP) return;
    if (WSTOPSIG(status) != SIGCHLD)
      throw std::runtime_error("the operation itself got signal " + std::to_string(WSTOPSIG(status)));
  }
}

void Tracee::breakpoint(std::uint64_t pc) {
  auto poke = [&](int number, std::uint64_t value) {
    if (::ptrace(PTRACE_POKEUSER, pid_, offsetof(user, u_debugreg) + static_cast<std::size_t>(number) * 8,
                 value))
      throw std::runtime_error(std::string("a debug register cannot be set: ") + std::strerror(errno));
  };
  poke(7, 0);
  if (pc) poke(0, pc), poke(7, 1);
}

/// One instruction; a repeated string instruction wholly.
void Tracee::step(const user_regs_struct& now, const Instruction& instruction) {
  if (instruction.repeated && now.rcx > 1) {
    breakpoint(now.rip + static_cast<std::uint64_t>(instruction.length));
    resume(PTRACE_CONT);
    breakpoint(0);
  } else {
    resume(PTRACE_SINGLESTEP);
  }
}

Trace Tracee::trace(bool every) {
  struct Note {
    KillPoint::At at;
    std::uint64_t number, pc;
  };
  Trace out;
  std::vector<std::uint64_t> pcs;
  std::vector<std::uint32_t> hits;
  std::vector<Note> notes{{KillPoint::At::step, 0, 0}};
  std::unordered_map<std::uint64_t, std::uint32_t> arrivals, changes;
  user_regs_struct now;
  registers(now);
  notes[0].pc = now.rip;
  for (;; registers(now)) {
    const Instruction& instruction = decode(now.rip);
    std::uint64_t n = pcs.size();
    if (instruction.breakpoint || n > kLongest) break;
    pcs.push_back(now.rip);
    hits.push_back(++arrivals[now.rip]);
    char before[kWindow] = {}, after[kWindow] = {};
    std::uint64_t address = instruction.memory ? instruction.address(now) : 0;
    bool shared = instruction.memory && watches(address);
    auto look = [&](char* to) {
      iovec here{to, kWindow}, there{reinterpret_cast<void*>(address), kWindow};
      if (::process_vm_readv(pid_, &here, 1, &there, 1, 0) < 0) {  // the window reaches beyond the mapping
        there.iov_len = here.iov_len = 8;
        (void)::process_vm_readv(pid_, &here, 1, &there, 1, 0);
      }
    };
    if (shared) look(before);
    if (shared && instruction.repeated && now.rcx > 1) notes.push_back({KillPoint::At::inside, n, now.rip});
    step(now, instruction);
    if (shared) look(after);
    bool changed =
        shared && (std::memcmp(before, after, kWindow) != 0 || (instruction.repeated && now.rcx > 1));
    if (changed) {
      // Loops that copy or zero: their first rounds, then fewer and fewer.
      std::uint32_t times = ++changes[now.rip], all = in_this_program(now.rip) ? 256 : 4;
      changed = times <= all || (times & (times - 1)) == 0;
    }
    if (instruction.system_call) {
      out.system_calls++;
      if (now.rax == SYS_mmap || now.rax == SYS_munmap || now.rax == SYS_mremap) find_segments();
    }
    if (changed || instruction.system_call || every) notes.push_back({KillPoint::At::step, n + 1, now.rip});
  }
  out.instructions = pcs.size();
  if (notes.back().number == pcs.size() && notes.size() > 1) notes.pop_back();
  notes.push_back({KillPoint::At::end, pcs.size(), pcs.empty() ? 0 : pcs.back()});
  for (const Note& note : notes) {
    KillPoint point;
    point.at = note.at, point.number = note.number, point.pc = note.pc;
    if (note.at != KillPoint::At::end) {
      // The cheapest way there: a rare instruction at most so far before it.
      std::uint64_t best = note.number;
      auto cost = [&](std::uint64_t m) { return static_cast<std::uint64_t>(hits[m]) + (note.number - m); };
      for (std::uint64_t m = note.number; note.number - m < 64 && cost(best) > 2 && !is_clock(pcs[m]); m--) {
        if (cost(m) < cost(best)) best = m;
        if (m == 0) break;
      }
      point.anchor = pcs[best], point.hits = hits[best],
      point.steps = static_cast<std::uint32_t>(note.number - best);
    }
    out.points.push_back(point);
  }
  return out;
}

bool Tracee::stand_at(std::uint64_t pc, std::uint32_t hits) {
  user_regs_struct now;
  registers(now);
  while (now.rip == pc) {
    if (--hits == 0) return true;
    step(now, decode(now.rip));
    registers(now);
  }
  breakpoint(pc);
  for (; hits; hits--) {
    resume(PTRACE_CONT);
    registers(now);
    if (now.rip != pc) return breakpoint(0), false;  // the end
  }
  breakpoint(0);
  return true;
}

bool Tracee::run_to(const KillPoint& point) {
  if (point.at == KillPoint::At::end) {
    breakpoint(0);
    resume(PTRACE_CONT);
    return true;
  }
  if (!stand_at(point.anchor, point.hits)) return false;
  user_regs_struct now;
  for (std::uint32_t i = 0; i < point.steps; i++) {
    registers(now);
    const Instruction& instruction = decode(now.rip);
    if (instruction.breakpoint) return false;
    step(now, instruction);
  }
  if (point.at == KillPoint::At::inside) resume(PTRACE_SINGLESTEP);
  return true;
}

// -------------------------------------------------------------------------------------------------------------------- names

std::string place_of(std::uint64_t pc) {
  Dl_info info{};
  struct link_map* map = nullptr;
  if (!::dladdr1(reinterpret_cast<void*>(pc), &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) || !map)
    return "?";
  if (in_this_program(pc)) {
    char command[256], function[2048], line[1024];
    std::snprintf(command, sizeof command, "addr2line -isfCe /proc/%d/exe %#llx 2>/dev/null", ::getpid(),
                  static_cast<unsigned long long>(pc - map->l_addr));
    std::unique_ptr<FILE, int (*)(FILE*)> out(::popen(command, "r"), ::pclose);
    std::string place;
    while (out && std::fgets(function, sizeof function, out.get()) &&
           std::fgets(line, sizeof line, out.get())) {
      place = std::string(function, std::strcspn(function, "\n(<")) + " at " +
              std::string(line, std::strcspn(line, "\n ("));
      if (place.rfind("std::", 0) != 0) break;  // the innermost that is not the standard library's
    }
    if (!place.empty()) return place;
  }
  const char* file = info.dli_fname ? std::strrchr(info.dli_fname, '/') : nullptr;
  char text[256];
  std::snprintf(text, sizeof text, "%s in %s+%#llx", info.dli_sname ? info.dli_sname : "?",
                file ? file + 1 : "?", static_cast<unsigned long long>(pc - map->l_addr));
  return text;
}

}  // namespace crash
