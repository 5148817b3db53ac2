// What benchmarks share: figures with their bars, rounds in processes of their own, contenders in turn, a pair of
// processes on two cores, a table and JSON, a main function.
//
// A benchmark is a function that takes one sample of each of its figures. The harness calls all benchmarks once a round, each in
// a new process, so that noise of the machine spreads over all of them, that no round finds warm what an earlier one left, and
// that a benchmark that crashes or hangs is a failure in the table and not the end of the run. Within a round contenders take
// turns in short slices; a ratio is one of medians of the same round.
#pragma once

#include <fcntl.h>
#include <headpond/headpond.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace headpond::bench {

// ---- figures

struct Bar {
  enum class Kind { none, at_most, at_least } kind = Kind::none;
  double value = 0;

  bool met_by(double figure) const {
    return kind == Kind::none || (kind == Kind::at_most ? figure <= value : figure >= value);
  }
};
inline Bar at_most(double value) { return {Bar::Kind::at_most, value}; }
inline Bar at_least(double value) { return {Bar::Kind::at_least, value}; }

struct Figure {
  std::string name;
  std::string unit;
  Bar bar;  // for the median
  std::vector<double> samples = {};

  double median() const {
    auto sorted = samples;
    std::sort(sorted.begin(), sorted.end());
    const auto n = sorted.size();
    return n == 0 ? 0 : n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
  }
  double min() const { return *std::min_element(samples.begin(), samples.end()); }
  double max() const { return *std::max_element(samples.begin(), samples.end()); }
};

/// One round of one benchmark, as its function sees it.
class Round {
 public:
  Round(unsigned number, bool quick, int pipe) : number_(number), quick_(quick), pipe_(pipe) {}

  /// Rounds so far: contenders begin in turn.
  unsigned number() const { return number_; }
  /// The count of operations to run, a tenth of it in a quick run.
  std::size_t count(std::size_t full) const { return quick_ ? full / 10 : full; }
  /// A sample of a figure of this benchmark.
  void add(const std::string& figure, double value) const {
    char text[256];
    const int size = std::snprintf(text, sizeof text, "%s\t%.17g\n", figure.c_str(), value);
    if (write(pipe_, text, static_cast<std::size_t>(size)) != size)
      throw std::runtime_error("the harness is gone");
  }

 private:
  unsigned number_;
  bool quick_;
  int pipe_;
};

struct Benchmark {
  std::string name;
  unsigned most_rounds;
  std::function<void(const Round&)> run;
  std::vector<Figure> figures;
  std::vector<std::string> failures = {};
};

// ---- answers of a pond

inline void must(const Status& status) {
  if (!status) [[unlikely]]
    throw std::runtime_error(status.text());
}
template <class T>
void must(const Result<T>& result) {
  if (!result) [[unlikely]]
    must(result.status());
}
template <class T>
T value_of(Result<T> result) {
  must(result);
  return *std::move(result);
}

// ---- time and place

inline double clock_ns(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}
inline double now_ns() { return clock_ns(CLOCK_MONOTONIC); }
/// For work of one thread that never sleeps: what others take of the core does not count.
inline double busy_ns() { return clock_ns(CLOCK_THREAD_CPUTIME_ID); }

inline void pin_to_core(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  (void)sched_setaffinity(0, sizeof set, &set);  // where there is one core only, everybody is on it
}

/// Nanoseconds that one of `count` calls takes of the core.
template <class Operation>
double ns_each(std::size_t count, Operation operation) {
  const double begin = busy_ns();
  for (std::size_t i = 0; i < count; ++i) operation(i);
  return (busy_ns() - begin) / static_cast<double>(count);
}

inline double median_of(std::vector<double> samples) {
  return Figure{{}, {}, {}, std::move(samples)}.median();
}

/// Runs the contenders in turn, each `slices` times after one that does not count; the median of each.
inline std::vector<double> in_turn(const Round& round, unsigned slices,
                                   const std::vector<std::function<double()>>& contenders) {
  std::vector<std::vector<double>> samples(contenders.size());
  for (unsigned slice = 0; slice <= slices; ++slice) {
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      const std::size_t who = (i + slice + round.number()) % contenders.size();
      const double sample = contenders[who]();
      if (slice > 0) samples[who].push_back(sample);
    }
  }
  std::vector<double> medians;
  for (auto& of_one : samples) medians.push_back(median_of(std::move(of_one)));
  return medians;
}

// ---- processes

/// Runs `work` in a child, which answers with what it writes to the pipe; returns that, or throws what went wrong there.
inline std::string in_child(const std::function<void(int pipe)>& work, unsigned limit_s = 100) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe: " + std::string(std::strerror(errno)));
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("fork: " + std::string(std::strerror(errno)));
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(limit_s);
    close(ends[0]);
    try {
      work(ends[1]);
      _exit(0);
    } catch (const std::exception& error) {
      dprintf(ends[1], "\n!%s", error.what());
      _exit(1);
    }
  }
  close(ends[1]);
  std::string answer;
  char buffer[4096];
  for (ssize_t size; (size = read(ends[0], buffer, sizeof buffer)) != 0;) {
    if (size > 0)
      answer.append(buffer, static_cast<std::size_t>(size));
    else if (errno != EINTR)
      break;
  }
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (WIFSIGNALED(status)) {
    throw std::runtime_error(WTERMSIG(status) == SIGALRM
                                 ? "hangs: killed after " + std::to_string(limit_s) + " s"
                                 : "killed by signal " + std::to_string(WTERMSIG(status)));
  }
  if (const auto mark = answer.find("\n!"); mark != std::string::npos)
    throw std::runtime_error(answer.substr(mark + 2));
  if (status != 0) throw std::runtime_error("exit status " + std::to_string(WEXITSTATUS(status)));
  return answer;
}

/// Two processes that begin their measured parts together.
class Pair {
 public:
  /// Called by each role when it is ready to be measured; returns when both are.
  void begin() {
    if (shared_->ready.fetch_add(1) == 1) shared_->begin_ns = now_ns(), shared_->go = true;
    while (!shared_->go.load(std::memory_order_acquire)) {
      if (shared_->failed) throw std::runtime_error("the other process failed");
    }
  }
  /// Called by a role at the end of its measured part, in which it made `core`'s part of the work.
  void end(int core) { shared_->end_ns[core] = now_ns(); }

  /// Runs the roles, pinned to core 0 and 1, and returns the nanoseconds from the begin to the later end.
  static double run(const std::function<void(Pair&)>& on_core_0,
                    const std::function<void(Pair&)>& on_core_1) {
    Pair pair;
    in_child([&](int pipe) {
      // One child runs both: the role on core 1 in a grandchild, whose failure ends the pair.
      std::string failure;
      const pid_t other = fork();
      pin_to_core(other == 0 ? 1 : 0);
      if (other == 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
      try {
        (other == 0 ? on_core_1 : on_core_0)(pair);
      } catch (const std::exception& error) {
        failure = error.what();
        pair.shared_->failed = true;
        dprintf(pipe, "\n!%s: %s", other == 0 ? "core 1" : "core 0", error.what());
      }
      if (other == 0) _exit(failure.empty() ? 0 : 1);
      if (!failure.empty()) _exit(1);
      int status = 0;
      waitpid(other, &status, 0);
      if (status != 0) _exit(1);
    });
    return std::max(pair.shared_->end_ns[0], pair.shared_->end_ns[1]) - pair.shared_->begin_ns;
  }

 private:
  struct Shared {
    std::atomic<int> ready{0};
    std::atomic<bool> go{false};
    std::atomic<bool> failed{false};
    double begin_ns = 0;
    double end_ns[2] = {0, 0};
  };

  Pair() {
    void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("mmap: " + std::string(std::strerror(errno)));
    shared_ = new (memory) Shared;
  }
  Shared* shared_;  // for the life of the process: a child of one round
};

// ---- a run

struct Settings {
  unsigned rounds = 7;
  bool quick = false;
  std::string only;  // benchmarks whose name contains this
};

/// One round of one benchmark: its samples, or a failure.
inline void run_round(Benchmark& benchmark, unsigned number, bool quick) {
  try {
    std::string answer = in_child([&](int pipe) { benchmark.run(Round(number, quick, pipe)); });
    for (std::size_t begin = 0, end; (end = answer.find('\n', begin)) != std::string::npos; begin = end + 1) {
      const std::string line = answer.substr(begin, end - begin);
      const auto tab = line.find('\t');
      auto figure = std::find_if(benchmark.figures.begin(), benchmark.figures.end(),
                                 [&](const Figure& f) { return f.name == line.substr(0, tab); });
      if (figure == benchmark.figures.end()) throw std::runtime_error("no such figure: " + line);
      figure->samples.push_back(std::stod(line.substr(tab + 1)));
    }
  } catch (const std::exception& error) {
    benchmark.failures.push_back("round " + std::to_string(number + 1) + ": " + error.what());
  }
}

/// `clean_up` takes away what a round may leave that crashed.
inline void run_rounds(std::vector<Benchmark>& benchmarks, const Settings& settings,
                       const std::function<void()>& clean_up) {
  const bool terminal = isatty(STDERR_FILENO) != 0;
  std::erase_if(benchmarks,
                [&](const Benchmark& b) { return b.name.find(settings.only) == std::string::npos; });
  for (unsigned round = 0; round < settings.rounds; ++round) {
    if (!terminal) std::fprintf(stderr, "round %u of %u\n", round + 1, settings.rounds);
    for (Benchmark& benchmark : benchmarks) {
      if (round >= benchmark.most_rounds) continue;
      if (terminal)
        std::fprintf(stderr, "\r\033[Kround %u of %u: %s", round + 1, settings.rounds,
                     benchmark.name.c_str());
      run_round(benchmark, round, settings.quick);
      clean_up();
    }
  }
  if (terminal) std::fputs("\r\033[K", stderr);
}

inline bool all_met(const std::vector<Benchmark>& benchmarks) {
  bool met = true;
  for (const Benchmark& benchmark : benchmarks) {
    met = met && benchmark.failures.empty();
    for (const Figure& figure : benchmark.figures) {
      met = met && (figure.bar.kind == Bar::Kind::none ||
                    (!figure.samples.empty() && figure.bar.met_by(figure.median())));
    }
  }
  return met;
}

/// "0.812", "37.2", "2613": three digits or more, as they are read best.
inline std::string digits(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f",
                value >= 100 || value == 0 ? 0
                : value >= 10              ? 1
                : value >= 1               ? 2
                                           : 3,
                value);
  return text;
}

inline void print_table(const std::vector<Benchmark>& benchmarks) {
  std::printf("%-58s %9s %9s %9s  %-9s %s\n", "", "median", "min", "max", "unit", "bar");
  for (const Benchmark& benchmark : benchmarks) {
    std::printf("\n%s\n", benchmark.name.c_str());
    for (const Figure& figure : benchmark.figures) {
      const char* sign = figure.bar.kind == Bar::Kind::at_most ? "<=" : ">=";
      const std::string bar =
          figure.bar.kind == Bar::Kind::none ? "" : sign + (" " + digits(figure.bar.value));
      if (figure.samples.empty()) {
        std::printf("  %-56s %9s %9s %9s  %-9s %s\n", figure.name.c_str(), "-", "-", "-", figure.unit.c_str(),
                    bar.c_str());
        continue;
      }
      std::printf("  %-56s %9s %9s %9s  %-9s %s%s\n", figure.name.c_str(), digits(figure.median()).c_str(),
                  digits(figure.min()).c_str(), digits(figure.max()).c_str(), figure.unit.c_str(),
                  bar.c_str(),
                  bar.empty()                          ? ""
                  : figure.bar.met_by(figure.median()) ? "  met"
                                                       : "  MISSED");
    }
    for (const std::string& failure : benchmark.failures) std::printf("  FAILED %s\n", failure.c_str());
  }
}

inline void print_json(const std::vector<Benchmark>& benchmarks) {
  auto all = nlohmann::json::array();
  for (const Benchmark& benchmark : benchmarks) {
    auto figures = nlohmann::json::array();
    for (const Figure& figure : benchmark.figures) {
      nlohmann::json one = {{"name", figure.name}, {"unit", figure.unit}, {"rounds", figure.samples.size()}};
      if (!figure.samples.empty()) {
        one.update({{"median", figure.median()},
                    {"min", figure.min()},
                    {"max", figure.max()},
                    {"samples", figure.samples}});
      }
      if (figure.bar.kind != Bar::Kind::none) {
        one[figure.bar.kind == Bar::Kind::at_most ? "at_most" : "at_least"] = figure.bar.value;
        one["met"] = !figure.samples.empty() && figure.bar.met_by(figure.median());
      }
      figures.push_back(std::move(one));
    }
    all.push_back(
        {{"benchmark", benchmark.name}, {"figures", std::move(figures)}, {"failures", benchmark.failures}});
  }
  std::printf("%s\n", all.dump(2).c_str());
}

/// The main function of a program of benchmarks; its exit status. `clean_up` takes away what a round may leave that crashed. `command`, for
/// programs that run the headpond command: its path, which --command sets.
inline int bench_main(
    int argc, char** argv, std::vector<Benchmark> benchmarks, const std::function<void()>& clean_up = [] {},
    std::string* command = nullptr) {
  Settings settings;
  bool check = false, json = false;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const bool more = i + 1 < argc;
    if (option == "--quick")
      settings.quick = true, settings.rounds = 3;
    else if (option == "--json")
      json = true;
    else if (option == "--check")
      check = true;
    else if (option == "--rounds" && more && std::atoi(argv[i + 1]) > 0)
      settings.rounds = static_cast<unsigned>(std::atoi(argv[++i]));
    else if (option == "--only" && more)
      settings.only = argv[++i];
    else if (option == "--command" && more && command != nullptr)
      *command = argv[++i];
    else {
      std::fprintf(stderr, "usage: %s [--rounds N] [--quick] [--json] [--check] [--only PART]%s\n", argv[0],
                   command != nullptr ? " [--command PATH]" : "");
      return 2;
    }
  }
  run_rounds(benchmarks, settings, clean_up);
  (json ? print_json : print_table)(benchmarks);
  bool failed = false;
  for (const Benchmark& benchmark : benchmarks) failed = failed || !benchmark.failures.empty();
  return failed || (check && !all_met(benchmarks)) ? 1 : 0;
}

}  // namespace headpond::bench
