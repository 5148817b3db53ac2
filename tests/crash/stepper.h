// A process that performs one operation under ptrace and can be stopped, or killed, before any of its instructions.
//
// What others can see of a process is what it wrote to shared memory, its robust-mutex list, its acknowledgement, and what its system calls
// did. trace() performs the operation once, an instruction at a time, and notes each instruction after which one of these had changed: these
// are the distinct states, and a kill anywhere else looks like a kill in one of them. run_to() then gets to such a point fast: a debug
// register on a rare instruction nearby, its hits counted, and single steps for the rest.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

struct user_regs_struct;

namespace crash {

/// ptrace is not allowed here; the text says what to do.
struct PtraceForbidden : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A place in an operation: before the instruction that is `steps` behind the `hits`-th arrival at `anchor`.
struct KillPoint {
  enum class At : std::uint8_t { step, inside, end };
  At at = At::
      step;  // inside: after one round of the repeated string instruction there; end: the operation has returned
  std::uint64_t anchor = 0;
  std::uint32_t hits = 0;
  std::uint32_t steps = 0;
  std::uint64_t number = 0;  // instructions since the start, in the traced pass
  std::uint64_t pc = 0;      // of the instruction that made the change
};

struct Trace {
  std::vector<KillPoint> points;  // in order; the first is the start, the last the end
  std::uint64_t instructions = 0, system_calls = 0;
};

class Tracee {
 public:
  struct Body {
    std::function<void()> prepare;    // not traced
    std::function<void()> operation;  // traced
  };
  /// Forks; when this returns the child has prepared itself and stands before its operation. Throws if it died on the way.
  /// `watched`: shared memory besides the segments under /dev/shm whose changes count (the acknowledgement).
  explicit Tracee(const Body& body, std::pair<const void*, std::size_t> watched = {});
  ~Tracee() { kill(); }
  Tracee(const Tracee&) = delete;
  Tracee& operator=(const Tracee&) = delete;

  pid_t pid() const { return pid_; }
  /// To the end of the operation, an instruction at a time. `every`: a point before each instruction, not only at changes.
  Trace trace(bool every);
  /// False if the operation ended before: clocks vary the way.
  bool run_to(const KillPoint& point);
  /// SIGKILL. When this returns the kernel has taken its locks and mutexes away; `keep_zombie` leaves it unwaited for until bury().
  void kill(bool keep_zombie = false);
  void bury();

 private:
  struct Instruction;
  static const Instruction& decode(std::uint64_t pc);
  void registers(user_regs_struct& out) const;
  void resume(int request);
  bool stand_at(std::uint64_t pc, std::uint32_t hits);
  void step(const user_regs_struct& now, const Instruction& instruction);
  void breakpoint(std::uint64_t pc);  // 0: none
  void find_segments();
  bool watches(std::uint64_t address) const;

  pid_t pid_ = -1;
  bool dead_ = false, zombie_ = false;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges_;
  std::size_t fixed_ranges_ = 0;
};

/// "function at file:line" of an address in this program or its libraries.
std::string place_of(std::uint64_t pc);

}  // namespace crash
