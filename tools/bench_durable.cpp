// Durable pushes against one SQLite commit each, by as many processes, in turn within a round.
//
// The peer is what users write who need durability today: INSERT with synchronous=FULL in WAL mode, a connection a process. SQLite's own busy
// handler is slow among many writers, so the peer also waits for a file lock of its own before it begins: the better of the two counts.
#include <headpond/headpond.h>
#include <sqlite3.h>
#include <sys/file.h>

#include <filesystem>

#include "src/attachment.h"
#include "src/directory.h"
#include "src/spill.h"
#include "tools/bench_harness.h"
#include "tools/bench_pond.h"

namespace headpond::bench {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kItemBytes = 64, kMany = 64;

/// Some processes that do the same until they are told to stop; operations a second of all of them.
class Crowd {
 public:
  struct Operation {
    std::function<void()> run;
    bool counts = true;
  };
  /// `work(number)` makes a process ready and returns its operation.
  static double run(int processes, double seconds, const std::function<Operation(int number)>& work) {
    Crowd crowd;
    std::string answer = in_child([&](int pipe) {
      std::vector<pid_t> children;
      for (int number = 0; number < processes; ++number) {
        const pid_t child = fork();
        if (child == 0) crowd.be(number, pipe, work);
        children.push_back(child);
      }
      const double begin = crowd.start(processes);
      while (now_ns() < begin + seconds * 1e9 && !crowd.shared_->failed) usleep(10'000);
      const std::uint64_t done = crowd.done();
      const double took = now_ns() - begin;
      crowd.shared_->stop = true;
      bool failed = false;
      for (const pid_t child : children) {
        int status = 0;
        waitpid(child, &status, 0);
        failed = failed || status != 0;
      }
      if (!failed) dprintf(pipe, "%.17g", static_cast<double>(done) / took * 1e9);
    });
    return std::stod(answer);
  }

 private:
  static constexpr int kMost = 64;
  struct alignas(128) Count {
    std::atomic<std::uint64_t> done{0};
  };
  struct Shared {
    std::atomic<int> ready{0};
    std::atomic<bool> go{false}, stop{false}, failed{false};
    Count count[kMost];
  };

  Crowd() {
    void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("mmap: " + std::string(std::strerror(errno)));
    shared_ = new (memory) Shared;
  }
  ~Crowd() { munmap(shared_, sizeof(Shared)); }

  [[noreturn]] void be(int number, int pipe, const std::function<Operation(int)>& work) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
      Operation operation = work(number);
      ++shared_->ready;
      while (!shared_->go) usleep(100);
      while (!shared_->stop) {
        operation.run();
        if (operation.counts) shared_->count[number].done.fetch_add(1, std::memory_order_relaxed);
      }
    } catch (const std::exception& error) {
      dprintf(pipe, "\n!%s", error.what());
      shared_->failed = true;
      ++shared_->ready;
      _exit(1);
    }
    _exit(0);
  }
  double start(int processes) {
    while (shared_->ready < processes) usleep(100);
    const double begin = now_ns();
    shared_->go = true;
    return begin;
  }
  std::uint64_t done() const {
    std::uint64_t sum = 0;
    for (const Count& count : shared_->count) sum += count.done;
    return sum;
  }

  Shared* shared_;
};

/// A folder on the disk on which ponds keep their state.
class BenchFolder {
 public:
  BenchFolder() {
    const char* home = std::getenv("HEADPOND_HOME");
    path_ = std::string(home ? home : "/var/tmp") + "/bench-peer-" + std::to_string(getpid());
    std::filesystem::create_directories(path_);
  }
  ~BenchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  BenchFolder(const BenchFolder&) = delete;
  BenchFolder& operator=(const BenchFolder&) = delete;
  std::string file(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// One row a commit.
class PeerDatabase {
 public:
  PeerDatabase(const std::string& path, bool with_lock) {
    check(sqlite3_open(path.c_str(), &database_));
    check(sqlite3_busy_timeout(database_, 60'000));
    check(sqlite3_exec(database_, "PRAGMA synchronous=FULL", nullptr, nullptr, nullptr));
    check(sqlite3_prepare_v2(database_, "INSERT INTO item(body) VALUES(?1)", -1, &insert_, nullptr));
    if (with_lock && (lock_ = open((path + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0)
      throw std::runtime_error("cannot make a lock file");
  }
  PeerDatabase(const PeerDatabase&) = delete;
  PeerDatabase& operator=(const PeerDatabase&) = delete;

  /// The file, before anybody opens it: nobody's connection is carried over a fork.
  static void make(const std::string& path) {
    (void)in_child([&](int) {
      sqlite3* database = nullptr;
      const char* sql = "PRAGMA journal_mode=WAL; CREATE TABLE item(id INTEGER PRIMARY KEY, body BLOB)";
      if (sqlite3_open(path.c_str(), &database) != SQLITE_OK ||
          sqlite3_exec(database, sql, nullptr, nullptr, nullptr) != SQLITE_OK ||
          sqlite3_close(database) != SQLITE_OK)
        throw std::runtime_error("cannot make the peer's database");
    });
  }

  void insert(const std::string& body) {
    if (lock_ >= 0) flock(lock_, LOCK_EX);
    check(sqlite3_bind_blob(insert_, 1, body.data(), static_cast<int>(body.size()), SQLITE_STATIC));
    if (sqlite3_step(insert_) != SQLITE_DONE) throw std::runtime_error(sqlite3_errmsg(database_));
    check(sqlite3_reset(insert_));
    if (lock_ >= 0) flock(lock_, LOCK_UN);
  }

 private:
  void check(int code) {
    if (code != SQLITE_OK) throw std::runtime_error(std::string("peer: ") + sqlite3_errmsg(database_));
  }
  sqlite3* database_ = nullptr;  // for the life of the process: a child of one round
  sqlite3_stmt* insert_ = nullptr;
  int lock_ = -1;
};

// ------------------------------------------------------------------------------------------------------------------- pushes

/// Pushes, and moves what it pushed to the durable tier at once, as fast as it can.
class Spiller {
 public:
  explicit Spiller(const TemporaryPond& pond)
      : pond_(pond.open()),
        inside_(value_of(internal::Attachment::open(pond.name(), pond.options, false))),
        queue_(pond_.scope().queue("spilling")),
        items_(kMany, Bytes(item_)) {}
  void operator()() {
    for (std::size_t bytes = 0; bytes < 1 << 20; bytes += kMany * item_.size())
      must(queue_.push_many(items_));
    internal::Spilled out;
    internal::ThreadContext& me = *inside_->thread();
    auto stream = value_of(internal::Directory(me).find({internal::Kind::queue, "", "spilling", "", ""}));
    internal::Lane lane(me, stream, 0);
    if (internal::spill_lane(lane, internal::SpillFrom::any, 1 << 20, out) != Code::ok) must(lane.error);
  }

 private:
  Pond pond_;
  std::shared_ptr<internal::Attachment> inside_;
  const std::string item_ = std::string(1000, 'x');
  Queue queue_;
  std::vector<Bytes> items_;
};

/// Durable pushes a second of so many processes; `spiller`: beside a Spiller.
double durable_pushes(int processes, double seconds, bool spiller) {
  TemporaryPond temporary(256);
  Pond pond = temporary.open();
  must(pond.scope().queue("durable").push("first", {.durability = Durability::durable}));
  return Crowd::run(processes + spiller, seconds, [&](int number) -> Crowd::Operation {
    auto mine = std::make_shared<Pond>(temporary.open());
    if (number == processes) {
      auto spiller = std::make_shared<Spiller>(temporary);
      return {[spiller] { (*spiller)(); }, false};
    }
    Queue queue = mine->scope().queue("durable");
    return {[mine, queue, item = std::string(kItemBytes, 'x')]() mutable {
      auto id = queue.push(item, {.durability = Durability::durable});
      must(id);
      if (id.durability() != Durability::durable)
        throw std::runtime_error("not durable: " + id.status().text());
    }};
  });
}

/// Rows a second, each committed by itself.
double own_commits(int processes, double seconds, bool with_lock) {
  BenchFolder folder;
  const std::string path = folder.file("peer.db");
  PeerDatabase::make(path);
  return Crowd::run(processes, seconds, [&](int) -> Crowd::Operation {
    auto peer = std::make_shared<PeerDatabase>(path, with_lock);
    return {[peer, item = std::string(kItemBytes, 'x')] { peer->insert(item); }};
  });
}

void durable(const Round& round) {
  const double seconds = static_cast<double>(round.count(2500)) / 1e3;
  auto better_of = [&](int processes) {
    return std::max(own_commits(processes, seconds, false), own_commits(processes, seconds, true));
  };
  const double own_8 = better_of(8), group_8 = durable_pushes(8, seconds, false),
               beside = durable_pushes(8, seconds, true), own_32 = better_of(32),
               group_32 = durable_pushes(32, seconds, false);
  round.add("8 processes: one SQLite commit each", own_8);
  round.add("8 processes: durable push", group_8);
  round.add("32 processes: one SQLite commit each", own_32);
  round.add("32 processes: durable push", group_32);
  round.add("8 processes, beside a spiller: durable push", beside);
  round.add("durable push / one commit each, 8 processes", group_8 / own_8);
  round.add("durable push / one commit each, 32 processes", group_32 / own_32);
  round.add("beside a spiller / alone", beside / group_8);
}

std::vector<Benchmark> all() {
  const Bar none;
  return {{"durable pushes of 64 bytes",
           5,
           durable,
           {{"8 processes: one SQLite commit each", "/s", none},
            {"8 processes: durable push", "/s", none},
            {"32 processes: one SQLite commit each", "/s", none},
            {"32 processes: durable push", "/s", none},
            {"8 processes, beside a spiller: durable push", "/s", none},
            {"durable push / one commit each, 8 processes", "times", at_least(3.5)},
            {"durable push / one commit each, 32 processes", "times", at_least(10)},
            {"beside a spiller / alone", "ratio", at_least(1.0 / 3)}}}};
}

}  // namespace
}  // namespace headpond::bench

int main(int argc, char** argv) {
  using namespace headpond::bench;
  return bench_main(argc, argv, all(), remove_temporary_ponds);
}
