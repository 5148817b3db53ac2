// headpond_crash: kills a process in every operation, in every distinct state, and looks whether the others are well (README.md).
#include <dirent.h>
#include <execinfo.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "operations.h"
#include "settings_found.h"
#include "src/attachment.h"
#include "src/reap.h"
#include "src/retire.h"
#include "stepper.h"
#include "survivor.h"

namespace crash {

using namespace headpond;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

constexpr int kTries = 5;  // of a kill after which the survivor was slow

struct Settings {
  std::string program;
  bool twice = false, every = false, only_single = false, verbose = false;
  std::size_t most = SIZE_MAX, most_twice = SIZE_MAX;  // points of one operation
  std::int64_t at = -1, at_twice = -1;
  unsigned part = 0, parts = 1;  // of the catalogue: each parts-th operation, from this one on
};

/// Where the runner is: shared with the driver, which goes on behind it if it crashes or hangs.
struct Progress {
  std::atomic<std::uint64_t> heartbeat, first, second, pc, kills, failures, missed, instructions, points;
  Recoveries recoveries;
  std::atomic<bool> finished;
  void* stack[24];  // of a survivor that crashed
  std::atomic<int> stack_depth;
  Scratch scratch;
};
Progress* progress;

/// In the runner only: a survivor that crashes tells where.
void tell_stacks() {
  void* warm[1];
  (void)::backtrace(warm, 1);  // loads what it needs
  for (int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL})
    ::signal(signal, [](int number) {
      progress->stack_depth = ::backtrace(progress->stack, 24);
      ::signal(number, SIG_DFL);
      ::raise(number);
    });
}

std::set<int> open_descriptors() {
  std::set<int> out;
  DIR* folder = ::opendir("/proc/self/fd");
  while (dirent* entry = ::readdir(folder))
    if (int fd = std::atoi(entry->d_name); entry->d_name[0] != '.' && fd != ::dirfd(folder)) out.insert(fd);
  ::closedir(folder);
  return out;
}

char task_state(pid_t pid) {
  char path[64], text[512] = {};
  std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE* file = std::fopen(path, "r");
  if (!file) return 0;
  std::size_t size = std::fread(text, 1, sizeof text - 1, file);
  std::fclose(file);
  const char* end = size ? std::strrchr(text, ')') : nullptr;
  return end && end[1] ? end[2] : '\0';
}

std::string sorted_words(const std::string& text) {
  std::istringstream in(text);
  std::multiset<std::string> words;
  for (std::string word; in >> word;) words.insert(word);
  return joined({words.begin(), words.end()});
}

// ------------------------------------------------------------------------------------------------------------------- runner

/// A third process that sleeps in claim() while the operation goes on.
class Waiter {
 public:
  Waiter(const Operation& op, const std::string& name, Scratch& scratch) {
    pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(98);
      try {
        Stage stage{.name = name, .scratch = &scratch};
        stage.open(op.options, false);
        auto claim = must(stage.work->claim(kLong), "the waiting claim");
        scratch.got_attempts = claim.attempts(), scratch.got_crashes = claim.crashes();
        scratch.got = 1 + number_of(claim.payload());
        must(claim.ack(), "ack");
      } catch (const std::exception& e) {
        std::fprintf(stderr, "the waiting process: %s\n", e.what());
        ::_exit(99);
      }
      ::_exit(0);
    }
    for (int seen = 0, i = 0; seen < 3 && i < 20000; i++, ::usleep(100))
      seen = task_state(pid_) == 'S' ? seen + 1 : 0;
  }
  ~Waiter() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  void end() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = 0;
    if (status) throw Problem("the waiting process failed");
  }

 private:
  pid_t pid_;
};

class Runner {
 public:
  Runner(const Operation& op, const Settings& settings, std::string pond)
      : op_(op), settings_(settings), pond_(std::move(pond)), scratch_(progress->scratch) {}

  /// All points from progress->first (and second) on.
  void run() {
    Trace trace;
    with_scene([&](Scene& scene) {
      scene.doomed = std::make_unique<Tracee>(doomed_body(), watched());
      scene.kill_victim();
      trace = scene.doomed->trace(settings_.every);
    });
    progress->heartbeat++;
    progress->instructions = trace.instructions, progress->points = trace.points.size();
    if (settings_.verbose)
      for (std::size_t k = 0; k < trace.points.size(); k++)
        std::printf("%6zu  instruction %llu  %s\n", k,
                    static_cast<unsigned long long>(trace.points[k].number),
                    place_of(trace.points[k].pc).c_str());
    bool twice = settings_.twice;
    for (std::size_t k : selected(trace.points.size(), twice ? settings_.most_twice : settings_.most,
                                  settings_.at, progress->first)) {
      progress->first = k, progress->pc = trace.points[k].pc;
      if (!twice) {
        // Each both ways, or by turns where they are only some.
        for (bool swept : {false, true})
          if (settings_.most == SIZE_MAX || swept == static_cast<bool>(k & 1))
            attempt(trace.points[k], nullptr, k, 0, swept);
        continue;
      }
      Trace second;
      with_scene([&](Scene& scene) {
        set_up(scene, trace.points[k], true);
        second = scene.reaper->trace(settings_.every);
      });
      progress->heartbeat++;
      if (settings_.verbose)
        for (std::size_t j = 0; j < second.points.size(); j++)
          std::printf("%6zu.%zu  instruction %llu  %s\n", k, j,
                      static_cast<unsigned long long>(second.points[j].number),
                      place_of(second.points[j].pc).c_str());
      for (std::size_t j : selected(second.points.size(),
                                    settings_.most_twice == SIZE_MAX ? SIZE_MAX : settings_.most_twice * 2,
                                    settings_.at_twice, progress->second)) {
        progress->second = j;
        attempt(trace.points[k], &second.points[j], k, j, (k + j) & 1);
      }
      progress->second = 0;
    }
  }

 private:
  struct Scene {
    Stage stage;
    std::unique_ptr<Tracee> reaper, doomed;
    std::unique_ptr<Waiter> waiter;
    Scratch* scratch;
    void kill_victim() {
      pid_t victim = scratch->victim;
      if (!victim) return;
      ::kill(victim, SIGKILL);
      for (int i = 0; i < 20000 && task_state(victim) != 'Z' && task_state(victim) != 0; i++) ::usleep(20);
    }
  };

  static std::vector<std::size_t> selected(std::size_t count, std::size_t most, std::int64_t only,
                                           std::size_t from) {
    std::vector<std::size_t> out;
    if (only >= 0) return {std::min<std::size_t>(static_cast<std::size_t>(only), count - 1)};
    for (std::size_t i = 0; i < std::min(count, most); i++) {
      std::size_t k = count <= most ? i : most == 1 ? 0 : i * (count - 1) / (most - 1);
      if (k >= from) out.push_back(k);
    }
    return out;
  }

  std::pair<const void*, std::size_t> watched() const { return {&scratch_, 16}; }

  Tracee::Body doomed_body() {
    auto stage = std::make_shared<Stage>();
    stage->name = pond_, stage->scratch = &scratch_;
    return {[this, stage] {
              if (!op_.attaches && !op_.creates) stage->open(op_.options, false);
              if (!op_.attaches && !op_.creates) op_.prepare_doomed(*stage);
            },
            [this, stage] {
              Status done = op_.operate(*stage);
              scratch_.returned.store(1 + static_cast<std::uint64_t>(done.code()));
            }};
  }
  Tracee::Body reaper_body() {
    auto stage = std::make_shared<Stage>();
    stage->name = pond_, stage->scratch = &scratch_;
    return {[this, stage] { stage->open(op_.options, false), stage->warm(); },
            [this, stage] {
              (void)stage->pond->reap();
              if (op_.saves) (void)stage->pond->flush();
            }};
  }

  template <class Work>
  void with_scene(Work work) {
    std::memset(static_cast<void*>(&scratch_), 0, sizeof scratch_);
    auto before = open_descriptors();
    {
      Scene scene;
      scene.scratch = &scratch_;
      scene.stage.name = pond_, scene.stage.scratch = &scratch_;
      (void)Pond::remove(pond_);
      struct Close {
        Scene& scene;
        ~Close() {
          scene.waiter.reset(), scene.doomed.reset(), scene.reaper.reset();
          if (pid_t victim = scene.scratch->victim) ::kill(victim, SIGKILL), ::waitpid(victim, nullptr, 0);
          scene.stage.close();
        }
      } close{scene};
      if (!op_.creates) {
        scene.stage.open(op_.options, true);
        op_.prepare(scene.stage);
      }
      work(scene);
    }
    Status removed = Pond::remove(pond_);
    if (!removed && removed.code() != Code::not_found) must(removed, "remove");
    if (std::filesystem::exists("/dev/shm/headpond." + std::to_string(::getuid()) + "." + pond_))
      throw Problem("remove left the segment's name");
    if (auto after = open_descriptors(); after != before)
      throw Problem(std::to_string(after.size()) + " descriptors are open, and before there were " +
                    std::to_string(before.size()));
  }

  /// The doomed one dead at its point; the reaper, if there is one, before its reaping.
  void set_up(Scene& scene, const KillPoint& point, bool reaper) {
    if (reaper && !op_.creates) scene.reaper = std::make_unique<Tracee>(reaper_body());
    scene.doomed = std::make_unique<Tracee>(doomed_body(), watched());
    if (op_.waiter && !reaper) scene.waiter = std::make_unique<Waiter>(op_, pond_, scratch_);
    scene.kill_victim();
    if (!scene.doomed->run_to(point)) progress->missed++;
    scene.doomed->kill(point.number & 1);  // half of them are zombies while the survivors go on
  }

  void attempt(const KillPoint& point, const KillPoint* second, std::size_t k, std::size_t j, bool swept) {
    std::string problem;
    for (int tries = 0; tries < kTries; tries++) {
      progress->heartbeat++;
      progress->kills += second ? 2 : 1;
      try {
        with_scene([&](Scene& scene) { check(scene, point, second, swept); });
        return;
      } catch (const Slow& slow) {
        problem = slow.what();
      } catch (const PtraceForbidden&) {
        throw;
      } catch (const std::exception& e) {
        problem = e.what();
        break;
      }
    }
    if (++progress->failures > 12 && settings_.at < 0) return;
    std::string at = std::to_string(k) + (second ? "." + std::to_string(j) : "");
    std::printf(
        "FAILED %s, killed at change %s (instruction %llu%s), behind %s%s%s\n       %s\n       again: %s run "
        "%s%s%s --at %s\n",
        op_.full_name().c_str(), at.c_str(), static_cast<unsigned long long>(point.number),
        second ? (" and " + std::to_string(second->number) + " of the reaping").c_str() : "",
        place_of(point.pc).c_str(), second ? (" and the reaper behind " + place_of(second->pc)).c_str() : "",
        swept ? "; swept before anybody reaped" : "", problem.c_str(), settings_.program.c_str(),
        op_.full_name().c_str(), second ? " --double" : "", settings_.every ? " --every" : "", at.c_str());
    std::fflush(stdout);
  }

  void check(Scene& scene, const KillPoint& point, const KillPoint* second, bool swept) {
    set_up(scene, point, second != nullptr);
    std::uint64_t returned = scratch_.returned;
    if (returned > 1)
      throw Problem("the operation answered " + std::string(name(static_cast<Code>(returned - 1))));
    if (point.at == KillPoint::At::end && !returned) throw Problem("the operation did not come to its end");
    if (second && scene.reaper) {
      if (!scene.reaper->run_to(*second)) progress->missed++;
      scene.reaper->kill(second->number & 1);
    }
    Survivor survivor(op_, scene.stage, scratch_, progress->recoveries);
    std::string found, on_disk = op_.saves ? " //" + after_reboot(pond_, op_.options) : "";
    if (swept && !op_.creates && !op_.removes) survivor.sweep();
    if (op_.removes && scene.stage.pond->reap().code() == Code::removed) {
      found = "removed";
      scene.stage.close();
      (void)Pond::remove(pond_);
      scene.stage.open(op_.options, true);
      survivor.recover(false);
      if (std::string fresh = survivor.observe() + survivor.settings(); !fresh.empty())
        throw Problem("the pond made after the removal has " + fresh);
    } else {
      survivor.recover(op_.waiter && scene.waiter);
      if (scene.waiter) scene.waiter->end(), scene.waiter.reset();
      scene.doomed->bury();
      if (scene.reaper) scene.reaper->bury();
      survivor.only_survivors_are_left(0);
      std::string saved = op_.saves && !swept ? survivor.save() : "", settings = survivor.settings();
      if (op_.saves && !swept && saved != settings)
        throw Problem("in memory is \"" + settings + "\", and flush() saved \"" + saved + "\"");
      found = survivor.observe() + settings + on_disk;
      survivor.verify("after draining");
    }
    bool good = returned ? same(found, op_.allowed.back())
                         : std::any_of(op_.allowed.begin(), op_.allowed.end(),
                                       [&](auto& text) { return same(found, text); });
    if (!good) {
      std::string text =
          "survivors found \"" + found + "\"" +
          (returned ? ", and the operation had returned; right is \"" + op_.allowed.back() + "\""
                    : "; right is one of");
      if (!returned)
        for (auto& right : op_.allowed) text += " \"" + right + "\"";
      throw Problem(text);
    }
    survivor.nothing_is_left();
    if (op_.saves) survivor.nothing_is_left_on_disk();
  }

  bool same(const std::string& found, const std::string& right) const {
    return op_.waiter ? sorted_words(found) == sorted_words(right) : found == right;
  }

  const Operation& op_;
  const Settings& settings_;
  std::string pond_;
  Scratch& scratch_;
};

// ------------------------------------------------------------------------------------------------------------------- driver

struct Totals {
  std::uint64_t kills = 0, failures = 0, runs = 0, missed = 0, late_wakes = 0, slowest_us = 0, ptrace = 0;
};

/// One operation in a process of its own; if that crashes or hangs, the kill after which it did is a failure, and another goes on behind it.
void drive(const Operation& op, const Settings& settings, Totals& totals) {
  auto begin = Clock::now();
  new (progress) Progress;
  std::string pond = "crash-" + std::to_string(::getpid());
  std::uint64_t died = 0;
  for (;;) {
    std::fflush(nullptr);
    pid_t driver = ::getpid(), runner = ::fork();
    if (runner == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::prctl(PR_SET_CHILD_SUBREAPER, 1);
      tell_stacks();
      if (::getppid() != driver) ::_exit(98);
      try {
        Runner(op, settings, pond).run();
      } catch (const PtraceForbidden& e) {
        std::fprintf(stderr, "headpond_crash: %s\n", e.what());
        ::_exit(97);
      } catch (const std::exception& e) {
        std::printf("FAILED %s: %s\n", op.full_name().c_str(), e.what());
        std::fflush(stdout);
        progress->failures++;
      }
      progress->finished = true;
      std::fflush(stdout);
      ::_exit(0);
    }
    int status = 0;
    std::uint64_t beat = progress->heartbeat;
    auto since = Clock::now();
    bool hung = false;
    while (::waitpid(runner, &status, WNOHANG) == 0) {
      ::usleep(1000);
      if (progress->heartbeat != beat) beat = progress->heartbeat, since = Clock::now();
      if (!hung && Clock::now() - since > 5 * kLong * time_factor()) hung = true, ::kill(runner, SIGKILL);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 97) std::exit(2);
    if (progress->finished) break;
    std::string at =
        std::to_string(progress->first) + (settings.twice ? "." + std::to_string(progress->second) : "");
    std::printf(
        "FAILED %s, killed at change %s behind %s\n       the survivor %s\n       again: %s run %s%s --at "
        "%s\n",
        op.full_name().c_str(), at.c_str(), place_of(progress->pc).c_str(),
        hung                  ? "hung"
        : WIFSIGNALED(status) ? ("was ended by signal " + std::to_string(WTERMSIG(status))).c_str()
                              : "exited",
        settings.program.c_str(), op.full_name().c_str(), settings.twice ? " --double" : "", at.c_str());
    for (int i = 2; i < progress->stack_depth; i++)
      std::printf("         in %s\n", place_of(reinterpret_cast<std::uint64_t>(progress->stack[i])).c_str());
    progress->stack_depth = 0;
    progress->failures++;
    if (settings.at >= 0 || ++died > 5) break;
    settings.twice ? progress->second++ : progress->first++;
  }
  ::unlink(("/dev/shm/headpond." + std::to_string(::getuid()) + "." + pond).c_str());
  totals.runs++, totals.kills += progress->kills, totals.failures += progress->failures,
      totals.missed += progress->missed, totals.late_wakes += progress->recoveries.late_wakes;
  totals.slowest_us = std::max<std::uint64_t>(totals.slowest_us, progress->recoveries.slowest_us);
  std::printf(
      "%-34s%s %8llu instructions %5llu points %6llu kills %4llu failures %7.2f s\n", op.full_name().c_str(),
      settings.twice ? " x2" : "   ", static_cast<unsigned long long>(progress->instructions),
      static_cast<unsigned long long>(progress->points), static_cast<unsigned long long>(progress->kills),
      static_cast<unsigned long long>(progress->failures),
      std::chrono::duration<double>(Clock::now() - begin).count());
  std::fflush(stdout);
}

int usage() {
  std::fprintf(
      stderr,
      "headpond_crash list                 operations and start states\n"
      "headpond_crash quick [--part K/N]   some points of each: the gate; of each Nth operation, on a core "
      "of its own\n"
      "headpond_crash all                  every distinct state, single and double kills; takes the "
      "options below\n"
      "headpond_crash run NAME[/STATE] [--double] [--at K[.J]] [--verbose]\n"
      "  --single, --double  only these kills    --most N  at most N points of an operation    "
      "--every  every instruction\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::vector<std::string> words(argv + 1, argv + argc);
  if (words.empty()) return usage();
  Settings settings;
  settings.program = argv[0];
  std::string which;
  for (std::size_t i = 1; i < words.size(); i++) {
    if (words[i] == "--double")
      settings.twice = true;
    else if (words[i] == "--single")
      settings.only_single = true;
    else if (words[i] == "--every")
      settings.every = true;
    else if (words[i] == "--verbose")
      settings.verbose = true;
    else if (words[i] == "--most" && i + 1 < words.size())
      settings.most = settings.most_twice =
          std::max<std::size_t>(2, std::strtoull(words[++i].c_str(), nullptr, 10));
    else if (words[i] == "--at" && i + 1 < words.size()) {
      const std::string& at = words[++i];
      settings.at = std::atoll(at.c_str());
      if (auto dot = at.find('.'); dot != std::string::npos)
        settings.at_twice = std::atoll(at.c_str() + dot + 1);
    } else if (words[i] == "--part" && i + 1 < words.size()) {
      if (std::sscanf(words[++i].c_str(), "%u/%u", &settings.part, &settings.parts) != 2 ||
          settings.part < 1 || settings.part > settings.parts)
        return usage();
      settings.part--;
    } else if (words[i][0] != '-' && which.empty())
      which = words[i];
    else
      return usage();
  }
  if (words[0] == "list") {
    for (auto& op : catalogue())
      std::printf("%s%s%s\n", op.full_name().c_str(), op.twice ? "  (double)" : "",
                  op.waiter ? "  (a third process waits)" : "");
    return 0;
  }
  if (words[0] != "quick" && words[0] != "all" && words[0] != "run") return usage();

  // One core for all: while one process is stepped nobody else runs, and a run is as like the last as can be.
  cpu_set_t allowed, one;
  CPU_ZERO(&one);
  if (::sched_getaffinity(0, sizeof allowed, &allowed) == 0)
    for (int cpu = CPU_SETSIZE - 1,
             skip = (settings.parts > 1 ? static_cast<int>(settings.part) : ::getpid()) % CPU_COUNT(&allowed);
         cpu >= 0; cpu--)
      if (CPU_ISSET(cpu, &allowed) && skip-- == 0)
        CPU_SET(cpu, &one), (void)::sched_setaffinity(0, sizeof one, &one);
  const char* folder = std::getenv("TMPDIR");
  std::string home = std::string(folder ? folder : "/tmp") + "/headpond-crash-XXXXXX";
  if (!::mkdtemp(home.data())) return std::perror("mkdtemp"), 2;
  ::setenv("HEADPOND_HOME", home.c_str(), 1);
  progress = static_cast<Progress*>(
      ::mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));

  Totals totals;
  auto begin = Clock::now();
  bool quick = words[0] == "quick", asked = settings.twice;
  unsigned turn = 0;
  for (auto& op : catalogue()) {
    if (turn++ % settings.parts != settings.part) continue;
    if (words[0] == "run" && which != op.name && which != op.full_name()) continue;
    for (bool twice : {false, true}) {
      if (words[0] == "run" ? twice != asked : (twice ? !op.twice || settings.only_single : asked)) continue;
      settings.twice = twice;
      if (quick && op.quick < (twice ? 40 : 1)) continue;
      if (quick) settings.most = static_cast<std::size_t>(op.quick), settings.most_twice = 5;
      drive(op, settings, totals);
    }
  }
  std::error_code ignored;
  std::filesystem::remove_all(home, ignored);
  if (!totals.runs)
    return std::fprintf(stderr, "headpond_crash: there is no operation %s; see `headpond_crash list`\n",
                        which.c_str()),
           2;
  std::printf(
      "%llu runs, %llu kills, %llu failures; %llu points were missed, %llu wakes came late, the slowest "
      "recovery took %.1f ms; %.1f s\n",
      static_cast<unsigned long long>(totals.runs), static_cast<unsigned long long>(totals.kills),
      static_cast<unsigned long long>(totals.failures), static_cast<unsigned long long>(totals.missed),
      static_cast<unsigned long long>(totals.late_wakes), static_cast<double>(totals.slowest_us) / 1000,
      std::chrono::duration<double>(Clock::now() - begin).count());
  return totals.failures ? 1 : 0;
}

}  // namespace crash

int main(int argc, char** argv) { return crash::main(argc, argv); }
