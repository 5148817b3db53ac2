// Real processes, memory that they share, and bounded waits.
//
//   Shared<Event> claimed;
//   Process worker([&] { ...; claimed->raise(); pause_forever(); });   // forked; expectations inside count as its exit code
//   ASSERT_TRUE(claimed->wait());
//   worker.kill();
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

namespace support {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kAddressSanitizer = true;
#elif defined(__has_feature)
inline constexpr bool kAddressSanitizer = __has_feature(address_sanitizer);
#else
inline constexpr bool kAddressSanitizer = false;
#endif

/// Time bounds are for a release build on a machine of one's own; sanitizers and HEADPOND_TIME_FACTOR stretch them.
inline int time_factor() {
  static const int factor = [] {
    if (const char* text = std::getenv("HEADPOND_TIME_FACTOR")) return std::max(1, std::atoi(text));
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    return 10;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
    return 10;
#endif
#endif
    return 1;
  }();
  return factor;
}
template <class Duration>
auto stretched(Duration duration) {
  return duration * time_factor();
}

inline std::int64_t now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch()).count();
}
inline milliseconds since(Clock::time_point start) {
  return std::chrono::duration_cast<milliseconds>(Clock::now() - start);
}

/// A number from the environment, else the default.
inline std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr && *text != '\0' ? std::strtoull(text, nullptr, 0) : otherwise;
}

inline std::uint64_t fresh_seed() {
  static std::random_device device;
  return number_from("HEADPOND_TEST_SEED", (std::uint64_t{device()} << 16) ^ device());
}

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t below(std::uint64_t bound) { return engine_() % bound; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }

 private:
  std::mt19937_64 engine_;
};

/// An object that forked children share.
template <class T>
class Shared {
 public:
  Shared() {
    void* memory =
        ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("mmap of shared scratch memory failed");
    object_ = new (memory) T;
  }
  ~Shared() { ::munmap(object_, sizeof(T)); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }

 private:
  T* object_;
};

/// A counter in shared memory that can be waited for.
class Event {
 public:
  void raise(std::uint32_t by = 1) {
    count_.fetch_add(by);
    ::syscall(SYS_futex, &count_, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
  }
  std::uint32_t count() const { return count_.load(); }
  /// False if the count has not come so far in time.
  [[nodiscard]] bool wait(std::uint32_t at_least = 1, milliseconds timeout = 60s) {
    const auto deadline = Clock::now() + stretched(timeout);
    for (;;) {
      const std::uint32_t seen = count_.load();
      if (seen >= at_least) return true;
      const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(deadline - Clock::now()).count();
      if (left <= 0) return false;
      timespec time{left / 1'000'000'000, left % 1'000'000'000};
      ::syscall(SYS_futex, &count_, FUTEX_WAIT, seen, &time, nullptr, 0);
    }
  }
  /// For bodies of processes: the test has failed elsewhere when this throws.
  void await(std::uint32_t at_least = 1, milliseconds timeout = 60s) {
    if (!wait(at_least, timeout)) throw std::runtime_error("waited in vain for an event");
  }

 private:
  std::atomic<std::uint32_t> count_{0};
};
static_assert(sizeof(Event) == 4);

/// Everybody of a known number goes on when the last one has come. Once.
class Barrier {
 public:
  void meet(std::uint32_t parties) {
    arrived_.raise();
    arrived_.await(parties);
  }

 private:
  Event arrived_;
};

[[noreturn]] inline void pause_forever() {
  for (;;) ::pause();
}

/// Ends the process if a test hangs; the default action of SIGALRM names it in the test's result. Longer than any wait here.
inline void watchdog(std::chrono::seconds time = 300s) {
  ::alarm(static_cast<unsigned>(stretched(time).count()));
}

/// True as soon as the condition holds; looked at again and again, at most so long.
template <class Condition>
[[nodiscard]] bool eventually(Condition condition, milliseconds timeout = 60s) {
  const auto deadline = Clock::now() + stretched(timeout);
  while (!condition()) {
    if (Clock::now() > deadline) return false;
    timespec nap{0, 200'000};
    ::nanosleep(&nap, nullptr);
  }
  return true;
}

/// The state letter of a thread as the kernel has it: 'S' sleeping, 'R' running, 'T' stopped, 'Z' zombie; 0: gone.
inline char task_state(pid_t pid, pid_t tid = 0) {
  char path[64], text[512];
  std::snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, tid == 0 ? pid : tid);
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  const ssize_t size = ::read(file, text, sizeof text - 1);
  ::close(file);
  if (size <= 0) return 0;
  text[size] = '\0';
  const char* end = std::strrchr(text, ')');
  return end != nullptr && end[1] == ' ' ? end[2] : '\0';
}

/// Waits until the thread sleeps in the kernel. It says by `about_to` (an Event that it raises) what it is about to do before.
[[nodiscard]] inline bool asleep(pid_t pid, pid_t tid = 0) {
  int seen = 0;  // twice in a row, a few moments apart: not a sleep of a microsecond on the way there
  return eventually([&] {
    seen = task_state(pid, tid) == 'S' ? seen + 1 : 0;
    return seen >= 3;
  });
}

/// A forked process that runs a body. Its exit code: 0, what the body returns, 1 if an expectation failed, 99 if it threw.
/// Killed and reaped at the end of the object if it still runs.
class Process {
 public:
  Process() = default;
  template <class Body>
  explicit Process(Body body) {
    std::fflush(nullptr);
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("fork failed");
    if (pid_ == 0) ::_exit(run(body, parent));
  }
  Process(Process&& other) noexcept : pid_(std::exchange(other.pid_, 0)), status_(other.status_) {}
  Process& operator=(Process&& other) noexcept {
    if (this != &other) {
      end();
      pid_ = std::exchange(other.pid_, 0);
      status_ = other.status_;
    }
    return *this;
  }
  ~Process() { end(); }

  pid_t pid() const { return pid_; }
  bool running() const { return pid_ > 0; }

  /// SIGKILL, and its death is complete when this returns.
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    reap(0);
  }
  /// SIGSTOP, and it stands when this returns.
  void stop() {
    ::kill(pid_, SIGSTOP);
    int status = 0;
    ::waitpid(pid_, &status, WUNTRACED);
    if (!WIFSTOPPED(status)) take(status);
  }
  void go_on() { ::kill(pid_, SIGCONT); }
  /// Its exit code; 128 + n if signal n killed it; -1 if it still ran after that time.
  int wait(milliseconds timeout = 120s) {
    if (pid_ > 0 && !eventually([&] { return reap(WNOHANG); }, timeout)) return -1;
    return status_;
  }
  /// True if it has ended by itself; then wait() says how.
  bool ended() { return pid_ <= 0 || reap(WNOHANG); }

 private:
  template <class Body>
  static int run(Body& body, pid_t parent) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent && ::getppid() != 0) return 98;  // 0: it is outside of our pid namespace
    watchdog();
    int code = 0;
    try {
      if constexpr (std::is_void_v<decltype(body())>) {
        body();
      } else {
        code = body();
      }
      if (code == 0 && ::testing::Test::HasFailure()) code = 1;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "process %d: %s\n", ::getpid(), error.what());
      code = 99;
    }
    std::fflush(nullptr);
    return code;
  }
  void take(int status) {
    status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    pid_ = 0;
  }
  bool reap(int flags) {
    int status = 0;
    pid_t got;
    do got = ::waitpid(pid_, &status, flags);
    while (got < 0 && errno == EINTR);
    if (got != pid_) return false;
    take(status);
    return true;
  }
  void end() {
    if (pid_ > 0) kill();
  }

  pid_t pid_ = 0;
  int status_ = 0;
};

/// Runs the body in a process that is killed behind it, before what the body returned is closed.
template <class Body>
void run_and_kill(Body body) {
  Shared<Event> done;
  Process life([&] {
    auto held = body();
    if (::testing::Test::HasFailure()) return 1;
    done->raise();
    pause_forever();
  });
  EXPECT_TRUE(eventually([&] { return done->count() > 0 || life.ended(); }, 60s));
  ASSERT_EQ(done->count(), 1u) << "the process failed before it was killed";
  life.kill();
}

}  // namespace support

/// Names the seed in every failure below, with the way to run it again.
#define WITH_SEED(seed) WITH_SEED_FROM(seed, ::support::fresh_seed())
/// The same with a seed of one's own choice.
#define WITH_SEED_FROM(seed, value)   \
  const std::uint64_t seed = (value); \
  SCOPED_TRACE("run again with HEADPOND_TEST_SEED=" + std::to_string(seed))
