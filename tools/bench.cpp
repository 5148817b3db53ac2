// Benchmarks against what users have already, in one run on one machine: read the ratios, not the nanoseconds.
//
//   headpond_bench [--rounds N] [--quick] [--json] [--check] [--only PART] [--command PATH]
//
// The peer is Boost.Interprocess's message_queue (which a killed process hangs), with items of the same size.
#include <headpond/headpond.h>
#include <linux/futex.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <boost/interprocess/ipc/message_queue.hpp>

#include "tools/bench_harness.h"
#include "tools/bench_pond.h"

namespace headpond::bench {
namespace {

using namespace std::chrono_literals;
namespace ipc = boost::interprocess;

constexpr std::size_t kItemBytes = 64, kMany = 64;
constexpr double kKiB = 1024, kMiB = 1024 * 1024;

/// A Boost message_queue, removed at the end of the round.
class PeerQueue {
 public:
  explicit PeerQueue(std::size_t items) : queue_(ipc::create_only, name().c_str(), items, kItemBytes) {}
  ~PeerQueue() { ipc::message_queue::remove(name().c_str()); }
  PeerQueue(const PeerQueue&) = delete;
  PeerQueue& operator=(const PeerQueue&) = delete;

  static std::string name() { return "headpond-bench-" + std::to_string(kRun); }
  ipc::message_queue& operator*() { return queue_; }

 private:
  ipc::message_queue queue_;
};

void clean_up() {
  remove_temporary_ponds();
  ipc::message_queue::remove(PeerQueue::name().c_str());
}

// ---------------------------------------------------------------------------------------------------- one process

void one_process(const Round& round) {
  pin_to_core(0);
  TemporaryPond temporary;
  Pond pond = temporary.open();
  Queue acked = pond.scope().queue("acked"), popped = pond.scope().queue("popped");
  Log log = pond.scope().log("log");
  PeerQueue peer(1024);
  const std::string item(kItemBytes, 'x');
  char buffer[kItemBytes];
  ipc::message_queue::size_type size = 0;
  unsigned priority = 0;
  std::uint64_t sum = 0;
  const std::size_t count = round.count(100'000);

  auto claim_and_ack = [&](std::size_t) {
    must(acked.push(item));
    auto claim = acked.claim();
    must(claim);
    sum += static_cast<unsigned char>(claim->payload()[0]);
    must(claim->ack());
  };
  auto pop = [&](std::size_t) {
    must(popped.push(item));
    auto text = popped.pop();
    must(text);
    sum += text->size();
  };
  auto send_and_receive = [&](std::size_t) {
    (*peer).send(item.data(), item.size(), 0);
    (*peer).receive(buffer, sizeof buffer, size, priority);
  };
  auto append = [&] {
    const double ns = ns_each(count, [&](std::size_t) { must(log.append(item)); });
    must(log.trim(value_of(log.last_seq()) + 1));
    return ns;
  };
  const auto ns = in_turn(round, 7,
                          {[&] { return ns_each(count, claim_and_ack); }, [&] { return ns_each(count, pop); },
                           [&] { return ns_each(count, send_and_receive); }, append});
  if (sum == 0) throw std::runtime_error("nothing was read");
  round.add("push + claim + ack", ns[0]);
  round.add("push + pop", ns[1]);
  round.add("message_queue: send + receive", ns[2]);
  round.add("append", ns[3]);
  round.add("push + claim + ack / message_queue", ns[0] / ns[2]);
  round.add("push + pop / message_queue", ns[1] / ns[2]);
  round.add("append / (push + claim + ack)", ns[3] / ns[0]);
}

void scan(const Round& round) {
  pin_to_core(0);
  TemporaryPond temporary;
  Pond pond = temporary.open();
  Log log = pond.scope().log("log");
  const std::string item(kItemBytes, 'x');
  const std::size_t count = round.count(200'000);
  for (std::size_t i = 0; i < count; ++i) must(log.append(item));

  auto walk = [&] {
    std::uint64_t records = 0, sum = 0;
    const double begin = busy_ns();
    Scan all = log.scan();
    for (const Record& record : all) {
      ++records;
      sum += static_cast<unsigned char>(record.payload[kItemBytes / 2]);
    }
    const double ns = busy_ns() - begin;
    must(all.status());
    if (records != count || sum != count * 'x') throw std::runtime_error("scan: records are missing");
    return ns / static_cast<double>(count);
  };
  round.add("scan in place, a record", in_turn(round, 7, {walk})[0]);
}

// ---------------------------------------------------------------------------------------------------- two processes

// One producer and one consumer, each on its core; nanoseconds an item.
double through_pond(std::size_t count, std::size_t at_once) {
  TemporaryPond temporary(16);
  const std::string item(kItemBytes, 'x');
  auto produce = [&](Pair& pair) {
    Pond pond = temporary.open();
    Queue queue = pond.scope().queue("items");
    const std::vector<Bytes> items(at_once, item);
    pair.begin();
    for (std::size_t i = 0; i < count; i += at_once) {
      if (at_once == 1)
        must(queue.push(item));
      else
        must(queue.push_many(items));
    }
    pair.end(0);
  };
  auto consume = [&](Pair& pair) {
    Pond pond = temporary.open();
    Queue queue = pond.scope().queue("items");
    std::uint64_t sum = 0;
    pair.begin();
    for (std::size_t i = 0; i < count;) {
      if (at_once == 1) {
        auto claim = queue.claim(20s);
        must(claim);
        sum += static_cast<unsigned char>(claim->payload()[0]);
        must(claim->ack());
        ++i;
      } else {
        auto claims = value_of(queue.claim_many(at_once, 20s));
        for (const Claim& claim : claims) sum += static_cast<unsigned char>(claim.payload()[0]);
        if (queue.ack_many(claims) != claims.size()) throw std::runtime_error("fenced");
        i += claims.size();
      }
    }
    pair.end(1);
    if (sum != count * 'x') throw std::runtime_error("wrong payloads");
  };
  return Pair::run(produce, consume) / static_cast<double>(count);
}

double through_peer(std::size_t count) {
  PeerQueue peer(8192);
  const std::string item(kItemBytes, 'x');
  auto produce = [&](Pair& pair) {
    pair.begin();
    for (std::size_t i = 0; i < count; ++i) (*peer).send(item.data(), item.size(), 0);
    pair.end(0);
  };
  auto consume = [&](Pair& pair) {
    char buffer[kItemBytes];
    ipc::message_queue::size_type size = 0;
    unsigned priority = 0;
    pair.begin();
    for (std::size_t i = 0; i < count; ++i) (*peer).receive(buffer, sizeof buffer, size, priority);
    pair.end(1);
  };
  return Pair::run(produce, consume) / static_cast<double>(count);
}

void two_processes(const Round& round) {
  const std::size_t count = round.count(640'000) / kMany * kMany;
  const auto ns = in_turn(round, 3,
                          {
                              [&] { return through_pond(count, 1); },
                              [&] { return through_pond(count * 2, kMany); },
                              [&] { return through_peer(count / 4); },
                          });
  round.add("push | claim + ack", ns[0]);
  round.add("push_many | claim_many + ack_many, 64 at once", ns[1]);
  round.add("message_queue: send | receive", ns[2]);
  round.add("message_queue / one at a time", ns[2] / ns[0]);
  round.add("message_queue / 64 at once", ns[2] / ns[1]);
}

// ---------------------------------------------------------------------------------------------------- waking

constexpr std::size_t kTurns = 4'000;

/// Half a turn of a ping-pong in which each side waits for the other; `take(who)` waits, `give(who)` wakes the other.
double ping_pong(std::size_t turns, const std::function<void(Pair&, int who, std::size_t turns)>& play) {
  const double ns =
      Pair::run([&](Pair& pair) { play(pair, 0, turns); }, [&](Pair& pair) { play(pair, 1, turns); });
  return ns / static_cast<double>(turns) / 2 / 1000;
}

double claim_wake_up(std::size_t turns, std::chrono::microseconds spin) {
  TemporaryPond temporary;
  temporary.options.spin = spin;
  return ping_pong(turns, [&](Pair& pair, int who, std::size_t count) {
    Pond pond = temporary.open();
    Queue mine = pond.scope().queue(who == 0 ? "a" : "b"), theirs = pond.scope().queue(who == 0 ? "b" : "a");
    pair.begin();
    for (std::size_t i = 0; i < count; ++i) {
      if (who == 0) must(theirs.push("ping"));
      must(value_of(mine.claim(20s)).ack());
      if (who == 1) must(theirs.push("pong"));
    }
    pair.end(who);
  });
}

double futex_wake_up(std::size_t turns) {
  void* memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto word = [&](int who) { return static_cast<std::atomic<std::uint32_t>*>(memory) + who * 32; };
  return ping_pong(turns, [&](Pair& pair, int who, std::size_t count) {
    auto give = [&](std::uint32_t turn) {
      word(1 - who)->store(turn);
      syscall(SYS_futex, word(1 - who), FUTEX_WAKE, 1, nullptr, nullptr, 0);
    };
    pair.begin();
    for (std::uint32_t turn = 1; turn <= count; ++turn) {
      if (who == 0) give(turn);
      while (word(who)->load() != turn)
        syscall(SYS_futex, word(who), FUTEX_WAIT, turn - 1, nullptr, nullptr, 0);
      if (who == 1) give(turn);
    }
    pair.end(who);
  });
}

double pipe_wake_up(std::size_t turns) {
  int pipes[2][2];
  if (pipe(pipes[0]) != 0 || pipe(pipes[1]) != 0) throw std::runtime_error("pipe failed");
  return ping_pong(turns, [&](Pair& pair, int who, std::size_t count) {
    char byte = 0;
    auto give = [&] { return write(pipes[1 - who][1], &byte, 1); };
    pair.begin();
    for (std::size_t i = 0; i < count; ++i) {
      if (who == 0 && give() != 1) throw std::runtime_error("write failed");
      if (read(pipes[who][0], &byte, 1) != 1) throw std::runtime_error("read failed");
      if (who == 1 && give() != 1) throw std::runtime_error("write failed");
    }
    pair.end(who);
  });
}

void waking(const Round& round) {
  const std::size_t turns = round.count(kTurns);
  const auto us = in_turn(round, 3,
                          {
                              [&] { return claim_wake_up(turns, 0us); },
                              [&] { return claim_wake_up(turns, Options().spin); },
                              [&] { return futex_wake_up(turns); },
                              [&] { return pipe_wake_up(turns); },
                          });
  round.add("a claim that sleeps", us[0]);
  round.add("a claim that spins for 20 us first", us[1]);
  round.add("futex", us[2]);
  round.add("pipe", us[3]);
  round.add("a claim that sleeps / futex", us[0] / us[2]);
}

// ---------------------------------------------------------------------------------------------------- many claims

// claim + ack of 500 items behind those that are held; nanoseconds a claim.
double claims(Queue& queue, const std::string& item) {
  constexpr std::size_t kClaims = 500;
  for (std::size_t i = 0; i < kClaims; ++i) must(queue.push(item));
  return ns_each(kClaims, [&](std::size_t) { must(value_of(queue.claim()).ack()); });
}

std::vector<Claim> hold(Queue& queue, std::size_t count, const std::string& item) {
  std::vector<Claim> held;
  for (std::size_t i = 0; i < count; ++i) must(queue.push(item));
  for (std::size_t i = 0; i < count; ++i) held.push_back(value_of(queue.claim()));
  return held;
}

void many_claims(const Round& round) {
  pin_to_core(0);
  TemporaryPond temporary;
  const std::string item(kItemBytes, 'x');
  const std::size_t count = round.count(100'000);
  int ready[2];
  if (pipe(ready) != 0) throw std::runtime_error("pipe failed");
  const pid_t holder = fork();  // another worker, which holds claims until we end
  if (holder == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    Pond pond = temporary.open();
    Queue queue = pond.scope().queue("others");
    auto held = hold(queue, count, item);
    if (write(ready[1], "", 1) == 1) pause();
    _exit(1);
  }
  close(ready[1]);
  char byte;
  if (read(ready[0], &byte, 1) != 1) throw std::runtime_error("the holder failed");
  Pond pond = temporary.open();
  Queue none = pond.scope().queue("none"), others = pond.scope().queue("others"),
        own = pond.scope().queue("own");
  auto ns = in_turn(round, 15, {[&] { return claims(none, item); }, [&] { return claims(others, item); }});
  auto held = hold(own, count, item);
  ns.push_back(in_turn(round, 15, {[&] { return claims(own, item); }})[0]);
  round.add("claim + ack, none held", ns[0]);
  round.add("claim + ack, another process holds 100,000", ns[1]);
  round.add("claim + ack, this process holds 100,000", ns[2]);
  round.add("another holds 100,000 / none", ns[1] / ns[0]);
  round.add("this one holds 100,000 / none", ns[2] / ns[0]);
  kill(holder, SIGKILL);
  waitpid(holder, nullptr, 0);
}

// ---------------------------------------------------------------------------------------------------- attach

void attach(const Round& round) {
  TemporaryPond kept(1), target(1);
  const std::size_t count = round.count(1'000);
  // Made elsewhere: this process has no handle on it but the one that is measured, and is known to the kernel by the other.
  in_child([&](int) { (void)target.open().scope().queue("items").push("item"); });
  Pond keep = kept.open();
  std::vector<double> all;
  for (std::size_t i = 0; i < count; ++i) {
    const double begin = now_ns();
    must(Pond::open_existing(target.name()));
    all.push_back((now_ns() - begin) / 1000);
  }
  round.add("attach + detach", median_of(all));
  round.add("attach + detach, the slowest of a hundred",
            (std::sort(all.begin(), all.end()), all[all.size() * 99 / 100]));
}

// ---------------------------------------------------------------------------------------------------- memory

double file_bytes(const std::string& pond) {
  const char* chosen = getenv("HEADPOND_SHM");
  const std::string folder = chosen != nullptr && *chosen != '\0' ? chosen : "/dev/shm";
  struct stat file;
  if (stat((folder + "/headpond." + std::to_string(getuid()) + "." + pond).c_str(), &file) != 0) {
    throw std::runtime_error("no segment in " + folder);
  }
  return static_cast<double>(file.st_blocks) * 512;
}

// What Stats says and what the file takes, whichever is more.
double memory_of(const TemporaryPond& temporary, const Pond& pond) {
  return std::max(static_cast<double>(value_of(pond.stats()).segment_bytes), file_bytes(temporary.name()));
}

void memory(const Round& round) {
  const std::string item(kItemBytes, 'x');
  {
    TemporaryPond temporary(256);
    Pond pond = temporary.open();
    Queue queue = pond.scope().queue("items");
    must(queue.push(item));
    must(queue.pop());
    round.add("idle pond, one empty queue: segment_bytes",
              static_cast<double>(value_of(pond.stats()).segment_bytes) / kKiB);
    round.add("idle pond, one empty queue: its file", file_bytes(temporary.name()) / kKiB);
  }
  {
    TemporaryPond temporary(256);
    Pond pond = temporary.open();
    for (int i = 0; i < 10'000; ++i) {
      Queue queue = pond.scope("scope-" + std::to_string(i)).queue("items");
      must(queue.push(item));
      must(queue.pop());
    }
    round.add("10,000 scopes with a drained queue each", memory_of(temporary, pond) / kMiB);
  }
  {
    TemporaryPond temporary(256);
    Pond pond = temporary.open();
    Queue queue = pond.scope().queue("items");
    const double before = memory_of(temporary, pond);
    for (int i = 0; i < 100'000; ++i) must(queue.push(item));
    round.add("a queued 64-byte item, of 100,000: its pages",
              static_cast<double>(value_of(queue.stats()).page_bytes) / 1e5);
    round.add("a queued 64-byte item, of 100,000: the segment", (memory_of(temporary, pond) - before) / 1e5);
  }
}

void large_values(const Round& round) {
  TemporaryPond temporary(16);
  temporary.options.on_full = OnFull::fail;
  Pond pond = temporary.open();
  Queue queue = pond.scope().queue("values");
  const std::string value(1 << 20, 'x');
  const int count = 250 * 10;
  int full = 0;
  const double begin = now_ns();
  for (int i = 0; i < count; ++i) {
    if (auto id = queue.push(value); id.code() == Code::full) {
      ++full;
      continue;
    } else {
      must(id.status());
    }
    auto claim = value_of(queue.claim());
    if (claim.payload().size() != value.size()) throw std::runtime_error("a value is torn");
    must(claim.ack());
  }
  round.add("`full` answers", full);
  round.add("push + claim + ack", (now_ns() - begin) / 1e3 / count);
}

// ---------------------------------------------------------------------------------------------------- the command

std::string command_path;

// $0 the command, $1 how many numbers, $2 how many each of four takes. Exit status 3: a number was lost or repeated.
constexpr const char* kScript = R"(
  out=$(mktemp -d)
  trap 'rm -rf "$out"' EXIT
  seq "$1" | "$0" push q || exit 1
  for p in 1 2 3 4; do
    "$0" pop q -n "$2" >"$out/$p" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || exit 2; done
  echo popped
  sort -n "$out"/? | cmp -s - <(seq "$1") || exit 3)";

void command(const Round& round) {
  if (access(command_path.c_str(), X_OK) != 0)
    throw std::runtime_error(command_path + " is not built: see --command");
  TemporaryPond temporary(256);
  const std::size_t count = round.count(1'000'000) / 4 * 4;
  const std::string numbers = std::to_string(count), each = std::to_string(count / 4);
  const double begin = now_ns();
  double seconds = 0;
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("pipe failed");
  const pid_t shell = fork();
  if (shell == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    setenv("HEADPOND_POND", temporary.name().c_str(), 1);
    execlp("bash", "bash", "-c", kScript, command_path.c_str(), numbers.c_str(), each.c_str(), nullptr);
    _exit(127);
  }
  close(ends[1]);
  char byte;
  if (read(ends[0], &byte, 1) == 1) seconds = (now_ns() - begin) / 1e9;
  while (read(ends[0], &byte, 1) == 1) continue;
  int status = 0;
  waitpid(shell, &status, 0);
  if (seconds == 0) throw std::runtime_error(WEXITSTATUS(status) == 1 ? "push failed" : "pop failed");
  round.add("seq 1000000 | push, then 4 pop -n 250000 at once", seconds);
  round.add("numbers lost or repeated (0: none, 1: some)", status == 0 ? 0 : 1);
}

// ---------------------------------------------------------------------------------------------------- all

std::vector<Benchmark> all() {
  const Bar none;
  return {
      {"one process, 64-byte items",
       1000,
       one_process,
       {{"push + claim + ack", "ns", none},
        {"push + pop", "ns", none},
        {"message_queue: send + receive", "ns", none},
        {"append", "ns", none},
        {"push + claim + ack / message_queue", "ratio", at_most(1.1)},
        {"push + pop / message_queue", "ratio", none},  // pop() allocates its answer
        {"append / (push + claim + ack)", "ratio", at_most(0.6)}}},
      {"scan of 64-byte records", 1000, scan, {{"scan in place, a record", "ns", at_most(10)}}},
      {"two processes on two cores, 64-byte items",
       1000,
       two_processes,
       {{"push | claim + ack", "ns", none},
        {"push_many | claim_many + ack_many, 64 at once", "ns", none},
        {"message_queue: send | receive", "ns", none},
        {"message_queue / one at a time", "times", at_least(6)},
        {"message_queue / 64 at once", "times", at_least(8)}}},
      {"claims behind others",
       1000,
       many_claims,
       {{"claim + ack, none held", "ns", none},
        {"claim + ack, another process holds 100,000", "ns", none},
        {"claim + ack, this process holds 100,000", "ns", none},
        {"another holds 100,000 / none", "ratio", at_most(2)},
        {"this one holds 100,000 / none", "ratio", none}}},
      {"waking, one way",
       1000,
       waking,
       {{"a claim that sleeps", "us", none},
        {"a claim that spins for 20 us first", "us", none},
        {"futex", "us", none},
        {"pipe", "us", none},
        {"a claim that sleeps / futex", "ratio", none}}},
      {"attaching",
       1000,
       attach,
       {{"attach + detach", "us", at_most(200)}, {"attach + detach, the slowest of a hundred", "us", none}}},
      {"memory",
       2,
       memory,
       {{"idle pond, one empty queue: segment_bytes", "KiB", at_most(1024)},
        {"idle pond, one empty queue: its file", "KiB", at_most(1024)},
        {"10,000 scopes with a drained queue each", "MiB", at_most(40)},
        {"a queued 64-byte item, of 100,000: its pages", "bytes", at_most(88)},
        {"a queued 64-byte item, of 100,000: the segment", "bytes", at_most(88)}}},
      {"2,500 values of 1 MiB, one after the other, through 16 MiB",
       3,
       large_values,
       {{"`full` answers", "count", at_most(0)}, {"push + claim + ack", "us", none}}},
      {"the command",
       5,
       command,
       {{"seq 1000000 | push, then 4 pop -n 250000 at once", "s", at_most(3)},
        {"numbers lost or repeated (0: none, 1: some)", "", at_most(0)}}},
  };
}

}  // namespace
}  // namespace headpond::bench

int main(int argc, char** argv) {
  using namespace headpond::bench;
  command_path = argv[0];
  command_path = command_path.substr(0, command_path.rfind('/') + 1) + "headpond";
  return bench_main(argc, argv, all(), clean_up, &command_path);
}
