// An example of headpond's public interface: several processes count the words of a folder, one of them is killed in
// the middle of a file, and still every file counts exactly once.
//
//   push    one process pushes every file's path into the queue `files`, and waits whenever 256 are there
//   count   4 workers claim files and append each file's counts to 8 logs, `counts` 0 to 7, parted by hash
//   merge   2 mergers claim partitions from the queue `partitions`, add up, append the sums to the log `sums`
//
// Why every file counts exactly once, wherever a worker is killed. An attempt is a file's item id and the item's
// claims so far. Every claim raises them: no two attempts are the same, and each record begins with its own.
//   1. Each file has an attempt in the log `finished`: a worker acks after its append to `finished` returned, what
//      is not acked is claimed again, and merging begins when all is acked and every worker has ended.
//   2. An attempt in `finished` is complete: its counts were appended to every partition before, and what an
//      append returned outlives the process. Other attempts may have left none, some or all of their counts.
//   3. Every merger takes the same attempt of a file, the first in `finished`: a log has one order, and nobody is
//      left to append. A merger attaches after the last worker's end, which reaps the dead: none holds up a scan.
// So the sums are made of one complete attempt of each file, and of nothing else.
#include <headpond/headpond.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <unordered_map>
#include <utility>

using headpond::Claim, headpond::Code, headpond::Log, headpond::Pond, headpond::Queue;
using std::chrono::steady_clock;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

constexpr unsigned kWorkers = 4, kMergers = 2, kPartitions = 8;

void must(const headpond::Status& status, const std::string& what) {  // a call's value, or an exception
  if (!status) throw std::runtime_error(what + ": " + status.text());
}
template <class T>
T must(headpond::Result<T> result, const std::string& what) {
  if (!result) must(result.status(), what);
  return *std::move(result);
}

using Counts = std::unordered_map<std::string, std::uint64_t>;
const Counts::hasher hash;

// A word is a run of ASCII letters of either case. Returns the bytes read: 0 if the file cannot be read.
std::uint64_t count_file(const std::string& path, Counts& counts) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  std::string word;
  for (char c : text.view()) {
    const char lower = static_cast<char>(c | ('a' - 'A'));
    if (lower >= 'a' && lower <= 'z')
      word += lower;
    else if (!word.empty())
      ++counts[std::exchange(word, {})];
  }
  if (!word.empty()) ++counts[word];
  return text.view().size();
}

void put_word(std::string& to, const std::string& word, std::uint64_t times) {
  to.append(std::to_string(times)).append(1, ' ').append(word).append(1, '\n');
}

void add_words(Counts& counts, std::istream& words) {
  std::string word;
  for (std::uint64_t times; words >> times >> word;) counts[word] += times;
}

// ---- what the processes share

struct Plan {
  std::string pond = "demo-" + std::to_string(getpid());
  headpond::Options options;
  std::vector<std::string> files;  // file n is item n + 1
  std::uint64_t bytes = 0;
  std::uint64_t fatal_file = 0;  // an item: its first claimer is killed
  unsigned fatal_step = 0;       // when that many of its records are appended; one more: before the ack
};

// Begins each record of a log; the words follow.
struct Attempt {
  std::uint64_t item = 0, number = 0, worker = 0, bytes = 0;
  std::string head() const {
    auto text = [](std::uint64_t number) { return std::to_string(number) + ' '; };
    return text(item) + text(number) + text(worker) + text(bytes) + '\n';
  }
};

struct Place {  // one process's handles; each process attaches by itself, after the fork
  explicit Place(const Plan& plan) : pond(must(Pond::open(plan.pond, plan.options), "attach")) {
    for (unsigned p = 0; p < kPartitions; ++p) counts.push_back(scope.log("counts", std::to_string(p)));
  }
  Pond pond;
  headpond::Scope scope = pond.scope("words");
  Queue files = scope.queue("files"), partitions = scope.queue("partitions");
  Log finished = scope.log("finished"), sums = scope.log("sums");
  std::vector<Log> counts;
};

// Calls visit(attempt, its words) for each record after a seq; returns the last seq.
std::uint64_t scan(const Log& log, std::uint64_t after, std::function<void(Attempt, std::istream&)> visit) {
  headpond::Scan records = log.scan({.after = static_cast<std::int64_t>(after)});
  for (const headpond::Record& record : records) {
    std::istringstream text{std::string(record.payload)};
    Attempt it;
    text >> it.item >> it.number >> it.worker >> it.bytes;
    visit(it, text);
    after = record.seq;
  }
  must(records.status(), "scan");
  return after;
}

// Does work(claim) and acks, until the queue takes no more items and all are acked: before, any may come back.
void for_each_item(Queue queue, const std::function<void(Claim&)>& work) {
  for (;;) {
    if (auto claim = queue.claim(50ms)) {
      work(*claim);
      must(claim->ack(), "ack");
    } else if (claim.code() != Code::timeout && claim.code() != Code::empty) {
      must(claim.status(), "claim");
    } else if (auto now = must(queue.stats(), "stats"); now.draining && now.ready + now.claimed == 0) {
      return;
    }
  }
}

void push_all(Queue queue, const std::vector<std::string>& items) {
  for (const std::string& item : items) must(queue.push(item, {.full_timeout = 1h}), "push");
  if (auto status = queue.drain(0ms); !(status == Code::timeout)) must(status, "drain");  // takes no more
}

void count(const Plan& plan, unsigned worker) {
  Place place(plan);
  for_each_item(place.files, [&](Claim& claim) {
    Attempt attempt{claim.id().value, claim.attempts(), worker};
    Counts counts;
    attempt.bytes = count_file(std::string(claim.payload()), counts);
    std::vector<std::string> records(kPartitions + 1, attempt.head());  // the last one for `finished`
    for (const auto& [word, times] : counts) put_word(records[hash(word) % kPartitions], word, times);
    const bool fatal = attempt.item == plan.fatal_file && attempt.number == 1;
    for (unsigned p = 0; p <= kPartitions; ++p) {
      if (fatal && p == plan.fatal_step) raise(SIGSTOP);  // waits here to be killed
      must((p < kPartitions ? place.counts[p] : place.finished).append(records[p]), "append");
    }
    if (fatal) raise(SIGSTOP);
  });
}

void merge(const Plan& plan) {
  Place place(plan);
  std::vector<std::uint64_t> chosen(plan.files.size() + 1);  // the attempt of each file that counts
  scan(place.finished, 0, [&](Attempt it, auto&) {
    if (chosen.at(it.item) == 0) chosen[it.item] = it.number;
  });
  for_each_item(place.partitions, [&](Claim& claim) {
    Counts sums;
    scan(place.counts.at(claim.payload()[0] - '0'), 0, [&](Attempt it, auto& words) {
      if (chosen.at(it.item) == it.number) add_words(sums, words);
    });
    std::string record = Attempt{claim.id().value, claim.attempts()}.head();
    for (const auto& [word, times] : sums) put_word(record, word, times);
    must(place.sums.append(record), "append");
  });
}

// ---- the parent: starts the others, kills one, shows how far they are, compares

pid_t start(const std::function<void()>& work) {
  if (pid_t pid = fork(); pid != 0) return pid;
  signal(SIGINT, SIG_DFL);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    work();
    _exit(0);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "headpond_demo: process %d: %s\n", getpid(), error.what());
    _exit(1);
  }
}

// Waits for every child, kills the one that waits for it, and returns its pid, else 0.
pid_t wait_for_all(const std::function<void()>& tick) {
  for (pid_t killed = 0;; tick(), usleep(20'000)) {
    int status = 0;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) != 0;) {
      if (pid < 0) return killed;
      if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP) kill(killed = pid, SIGKILL);
      if (!WIFSTOPPED(status) && status != 0 && pid != killed) throw std::runtime_error("a process failed");
    }
  }
}

const bool terminal = isatty(STDERR_FILENO) != 0;
const char* const clear = terminal ? "\r\033[K" : "";

double seconds_since(steady_clock::time_point begin) { return (steady_clock::now() - begin) / 1.0s; }

// Says how far we are: a bar on a terminal, else a line every few seconds.
void progress(const char* what, steady_clock::time_point begin, double done, double all) {
  static auto last = begin;
  if (steady_clock::now() < last + (terminal ? 100ms : 3000ms)) return;
  last = steady_clock::now();
  const std::string bar(static_cast<std::size_t>(30 * std::min(1.0, done / all)), '#');
  const double rate = std::max(1.0, done / seconds_since(begin));
  std::fprintf(stderr, "%s%s [%-30s] %.0f of %.0f MB, %.0f MB/s, %.0f s left%s", clear, what, bar.c_str(),
               done / 1e6, all / 1e6, rate / 1e6, (all - done) / rate, terminal ? "" : "\n");
}

void make_plan(Plan& plan, const fs::path& folder, unsigned long seed) {
  const auto options = fs::directory_options::skip_permission_denied;
  for (const auto& entry : fs::recursive_directory_iterator(folder, options)) {
    if (entry.is_symlink() || !entry.is_regular_file()) continue;
    plan.files.push_back(entry.path());
    plan.bytes += entry.file_size();
  }
  const std::uint64_t files = plan.files.size();
  if (files == 0) throw std::runtime_error(folder.string() + ": no files");
  std::mt19937 random(static_cast<unsigned>(seed));
  plan.fatal_file = 1 + files * 2 / 5 + random() % (files / 5 + 1);  // about half-way
  plan.fatal_step = random() % (kPartitions + 2);
  plan.options.on_full = headpond::OnFull::block;
  plan.options.full_timeout = 10s;
  // A file leaves at most three times its size and 1 KiB in the logs. Only what is used takes memory.
  plan.options.limit_bytes = (64 + (3 * plan.bytes + 1024 * files) / (1 << 20)) << 20;
}

// Returns whether all went well: a worker was killed, and each word was counted as often as by a single process.
bool run(const Plan& plan) {
  Place place(plan);
  must(place.files.configure({.max_items = 256}), "configure");
  auto begin = steady_clock::now();
  start([&] { push_all(Place(plan).files, plan.files); });
  std::vector<pid_t> workers;
  for (unsigned w = 1; w <= kWorkers; ++w) workers.push_back(start([&] { count(plan, w); }));
  std::uint64_t done = 0, seen = 0, before = 0, heir = 0;
  const pid_t killed = wait_for_all([&] {
    seen = scan(place.finished, seen, [&](Attempt it, auto&) { done += it.bytes; });
    progress("counting", begin, done, plan.bytes);
  });
  const auto victim = std::find(workers.begin(), workers.end(), killed) - workers.begin() + 1;
  scan(place.finished, 0, [&](Attempt it, auto&) {
    if (it.item == plan.fatal_file && it.number > 1) heir = it.worker;
    before += static_cast<long>(it.worker) == victim;
  });
  std::fprintf(stderr, "%s", clear);
  std::printf("worker %ld (pid %d) killed with SIGKILL after %lu files; ", victim, killed, before);
  const char* file = plan.files.at(plan.fatal_file - 1).c_str();
  std::printf("its claim of %s came back and was redone by worker %lu\n\n", file, heir);

  for (unsigned merger = 1; merger <= kMergers; ++merger) start([&] { merge(plan); });
  push_all(place.partitions, {"0", "1", "2", "3", "4", "5", "6", "7"});
  wait_for_all([] {});
  Counts sums, expected;
  std::set<std::uint64_t> merged;  // a partition that was merged twice counts once
  scan(place.sums, 0, [&](Attempt it, auto& words) {
    if (merged.insert(it.item).second) add_words(sums, words);
  });
  const double seconds = seconds_since(begin);
  std::set<std::pair<std::uint64_t, std::string>, std::greater<>> top;
  for (const auto& [word, times] : sums) top.emplace(times, word);
  for (auto it = top.begin(); it != top.end() && std::distance(top.begin(), it) < 20; ++it)
    std::printf("%10lu %s\n", it->first, it->second.c_str());

  begin = steady_clock::now(), done = 0;
  for (auto& file : plan.files) progress("checking", begin, done += count_file(file, expected), plan.bytes);
  const bool good = sums == expected && killed != 0 && heir != 0;
  std::fprintf(stderr, "%s", clear);
  std::printf("\n%zu files, %.1f MB, %zu different words: %.2f s, a single process %.2f s\n",
              plan.files.size(), plan.bytes / 1e6, sums.size(), seconds, seconds_since(begin));
  std::printf("%s a single-process count\n", good ? "verified: equal to" : "WRONG: not equal to");
  return good;
}

}  // namespace

int main(int argc, char** argv) {
  Plan plan;
  bool good = false;
  signal(SIGINT, SIG_IGN);  // it ends the children, and us since they fail
  try {
    make_plan(plan, argc > 1 ? argv[1] : "/usr/include", argc > 2 ? std::stoul(argv[2]) : 1);
    good = run(plan);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "headpond_demo: %s\n", error.what());
  }
  (void)Pond::remove(plan.pond);
  return good ? 0 : 1;
}
