// What flows through both tiers, against plain SQLite in the same run and on the same disk: the folder is $HEADPOND_BENCH_FOLDER, else
// /var/tmp. Items of 64 bytes, a pond of 16 MiB; times are of the wall, since the disk counts.
//
// Plain blobs: a table of blobs of 64 KiB, one a commit, WAL, synchronous = NORMAL, all else as SQLite comes; as many of them as hold what
// the pond spilled, written, read and deleted. Plain rows: an item a row, 1,000 a commit; the least that a row can be, a number and its bytes,
// and as a table must be to serve as queues of several scopes: a number that is never used again, the scope, the bytes, and an index.

#include <sqlite3.h>

#include <cstdlib>
#include <filesystem>

#include "bench_harness.h"
#include "headpond/headpond.h"

namespace headpond::bench {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kItemBytes = 64, kBlobBytes = 64 << 10;
constexpr std::uint64_t kRecordBytes = 80;  // of such an item in a page

/// On the disk to be measured; removed at the end.
class Folder {
 public:
  Folder() {
    const char* base = std::getenv("HEADPOND_BENCH_FOLDER");
    path_ = std::string(base ? base : "/var/tmp") + "/headpond-bench-XXXXXX";
    if (!mkdtemp(path_.data())) throw std::runtime_error("mkdtemp: " + std::string(std::strerror(errno)));
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  double mib() const {
    std::uintmax_t bytes = 0;
    for (auto& entry : std::filesystem::recursive_directory_iterator(path_))
      if (entry.is_regular_file()) bytes += entry.file_size();
    return static_cast<double>(bytes) / (1 << 20);
  }

 private:
  std::string path_;
};

class SmallPond {
 public:
  explicit SmallPond(std::uint64_t mib = 16) {
    options_.limit_bytes = mib << 20, options_.on_full = OnFull::spill, options_.full_timeout = 20s;
    options_.state_home = folder_.path();
  }
  ~SmallPond() { (void)Pond::remove(name_, {.state_home = folder_.path()}); }
  Pond open() const { return value_of(Pond::open(name_, options_)); }
  double disk_mib() const { return folder_.mib(); }

 private:
  Folder folder_;
  std::string name_ = "bench-tiers-" + std::to_string(getpid());
  Options options_;
};

class Item {
 public:
  Bytes with(std::uint64_t number) {
    std::memcpy(bytes_, &number, sizeof number);
    return {bytes_, sizeof bytes_};
  }
  static std::uint64_t number(Bytes item) {
    std::uint64_t number = 0;
    if (item.size() != kItemBytes) throw std::runtime_error("an item came back with another size");
    std::memcpy(&number, item.data(), sizeof number);
    return number;
  }

 private:
  char bytes_[kItemBytes] = {};
};

class Plain {
 public:
  explicit Plain(const std::string& path) {
    if (sqlite3_open(path.c_str(), &handle_) != SQLITE_OK) fail();
    run("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
        "CREATE TABLE blob(id INTEGER PRIMARY KEY, bytes BLOB);"
        "CREATE TABLE item(id INTEGER PRIMARY KEY, bytes BLOB);"
        "CREATE TABLE queued(id INTEGER PRIMARY KEY AUTOINCREMENT, scope BLOB NOT NULL, bytes BLOB NOT NULL);"
        "CREATE INDEX queued_in_scope ON queued(scope, id)");
    put_ = prepare("INSERT INTO blob VALUES(?1, ?2)"), get_ = prepare("SELECT bytes FROM blob WHERE id = ?1");
    drop_ = prepare("DELETE FROM blob WHERE id = ?1"), row_ = prepare("INSERT INTO item VALUES(?1, ?2)"),
    queued_ = prepare("INSERT INTO queued(scope, bytes) VALUES('bench', ?1)");
  }
  ~Plain() {
    for (sqlite3_stmt* statement : {put_, get_, drop_, row_, queued_}) sqlite3_finalize(statement);
    sqlite3_close(handle_);
  }
  void put(std::uint64_t id, std::string_view bytes) { write(put_, id, bytes); }
  void row(std::uint64_t id, std::string_view bytes) { write(row_, id, bytes); }
  void queue(std::string_view bytes) {
    sqlite3_bind_blob64(queued_, 1, bytes.data(), bytes.size(), SQLITE_STATIC);
    step(queued_);
  }
  void get(std::uint64_t id, std::string& out) {
    sqlite3_bind_int64(get_, 1, static_cast<sqlite3_int64>(id));
    if (sqlite3_step(get_) != SQLITE_ROW) fail();
    out.assign(static_cast<const char*>(sqlite3_column_blob(get_, 0)),
               static_cast<std::size_t>(sqlite3_column_bytes(get_, 0)));
    sqlite3_reset(get_);
  }
  void drop(std::uint64_t id) {
    sqlite3_bind_int64(drop_, 1, static_cast<sqlite3_int64>(id));
    step(drop_);
  }
  void run(const char* sql) {
    if (sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail();
  }

 private:
  sqlite3_stmt* prepare(const char* sql) {
    sqlite3_stmt* out = nullptr;
    if (sqlite3_prepare_v2(handle_, sql, -1, &out, nullptr) != SQLITE_OK) fail();
    return out;
  }
  void write(sqlite3_stmt* statement, std::uint64_t id, std::string_view bytes) {
    sqlite3_bind_int64(statement, 1, static_cast<sqlite3_int64>(id));
    sqlite3_bind_blob64(statement, 2, bytes.data(), bytes.size(), SQLITE_STATIC);
    step(statement);
  }
  void step(sqlite3_stmt* statement) {
    if (sqlite3_step(statement) != SQLITE_DONE) fail();
    sqlite3_reset(statement);
  }
  [[noreturn]] void fail() { throw std::runtime_error(sqlite3_errmsg(handle_)); }
  sqlite3* handle_ = nullptr;
  sqlite3_stmt *put_ = nullptr, *get_ = nullptr, *drop_ = nullptr, *row_ = nullptr, *queued_ = nullptr;
};

/// Of this process, at most so far: shared memory, too.
double resident_mib() {
  double kib = 0;
  if (std::FILE* file = std::fopen("/proc/self/status", "r")) {
    for (char line[256]; std::fgets(line, sizeof line, file);)
      if (std::sscanf(line, "VmHWM: %lf", &kib) == 1) break;
    std::fclose(file);
  }
  return kib / 1024;
}

template <class Work>
double ns_of(Work work) {
  double begin = now_ns();
  work();
  return now_ns() - begin;
}

// ------------------------------------------------------------------------------------------------------------ one process

void one_process(const Round& round) {
  const std::uint64_t count = round.count(10'000'000);
  SmallPond small;
  Pond pond = small.open();
  Queue queue = pond.scope("bench").queue("work");
  Item item;
  double push = ns_of([&] {
    for (std::uint64_t i = 0; i < count; i++) must(queue.push(item.with(i)));
  });
  Stats full = value_of(pond.stats());
  double on_disk = small.disk_mib();
  double pop = ns_of([&] {
    for (std::uint64_t i = 0; i < count; i++)
      if (Item::number(value_of(queue.pop())) != i)
        throw std::runtime_error("an item is lost or out of order");
  });
  if (queue.pop().code() != Code::empty) throw std::runtime_error("more came out than went in");
  must(pond.reap());
  double n = static_cast<double>(count);
  round.add("push, an item", push / n), round.add("pop, an item", pop / n);
  round.add("pages in the segment", static_cast<double>(full.page_bytes) / (1 << 20));
  round.add("resident, at most", resident_mib());
  round.add("on disk, all pushed", on_disk), round.add("on disk, all popped", small.disk_mib());
}

// -------------------------------------------------------------------------------------------------------------- four each

struct Shared {
  std::atomic<std::uint64_t> pushed{0}, popped{0}, sum{0};
};

void four_each(const Round& round) {
  const std::uint64_t count = round.count(10'000'000) / 4 * 4;
  SmallPond small;
  Pond keep = small.open();
  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("mmap failed");
  Shared& shared = *new (memory) Shared;
  const std::size_t seen_bytes = count / 8 + 8;
  auto* seen = static_cast<std::atomic<std::uint8_t>*>(
      mmap(nullptr, seen_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  auto role = [&](std::uint64_t number) {
    Pond pond = small.open();
    Queue queue = pond.scope("bench").queue("work");
    Item item;
    for (std::uint64_t i = 0; i < count / 4; i++)
      must(queue.push(item.with(i * 4 + number))), shared.pushed++;
    std::uint64_t last[4] = {};
    while (shared.popped < count) {
      auto got = queue.pop(100ms);
      if (!got) {
        if (got.code() != Code::empty && got.code() != Code::timeout) must(got.status());
        continue;
      }
      std::uint64_t mine = Item::number(*got);
      if (seen[mine / 8].fetch_or(static_cast<std::uint8_t>(1 << mine % 8)) >> mine % 8 & 1)
        throw std::runtime_error("an item came twice");
      if (mine / 4 + 1 <= last[mine % 4]) throw std::runtime_error("an item came out of its pusher's order");
      last[mine % 4] = mine / 4 + 1;
      shared.popped++;
    }
    return resident_mib();
  };
  double most = 0;
  double took = ns_of([&] {
    std::vector<pid_t> children;
    int ends[2];
    if (pipe(ends) != 0) throw std::runtime_error("pipe failed");
    for (std::uint64_t i = 0; i < 4; i++) {
      pid_t child = fork();
      if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        try {
          double mib = role(i);
          _exit(write(ends[1], &mib, sizeof mib) == sizeof mib ? 0 : 1);
        } catch (const std::exception& error) {
          std::fprintf(stderr, "a process of four: %s\n", error.what());
          _exit(1);
        }
      }
      children.push_back(child);
    }
    for (pid_t child : children) {
      int status = 0;
      waitpid(child, &status, 0);
      if (status != 0) throw std::runtime_error("one of the four failed");
      double mib = 0;
      if (read(ends[0], &mib, sizeof mib) == sizeof mib) most = std::max(most, mib);
    }
    close(ends[0]), close(ends[1]);
  });
  must(keep.reap());
  round.add("push and pop, an item", took / static_cast<double>(count));
  round.add("resident, at most", most), round.add("on disk, all popped", small.disk_mib());
}

// ------------------------------------------------------------------------------------------------------------ idle scopes

void idle_scopes(const Round& round) {
  const std::uint64_t scopes = round.count(100'000), each = 10, looks = 1000;
  SmallPond small(64);
  Pond pond = small.open();
  Item item;
  auto queue = [&](std::uint64_t scope) {
    return pond.scope("scope " + std::to_string(scope)).queue("work");
  };
  double push = ns_of([&] {
    for (std::uint64_t scope = 0; scope < scopes; scope++) {
      Queue to = queue(scope);
      for (std::uint64_t n = 0; n < each; n++) must(to.push(item.with(scope * each + n)));
    }
  });
  const std::uint64_t parked_by_need = value_of(pond.stats()).parked;
  GcResult collected;
  double gc = ns_of([&] {
    for (int tries = 0; tries < 3; tries++) {  // the first look takes what was just used for used now
      GcResult more = value_of(pond.gc({.spill_idle = 1ms, .drop_idle = {}}));
      collected.parked += more.parked;
      if (tries < 2) usleep(10'000);
    }
  });
  Stats idle = value_of(pond.stats());
  if (idle.parked != scopes)
    throw std::runtime_error(std::to_string(scopes - idle.parked) + " are not parked");
  std::vector<double> back;
  std::vector<std::uint64_t> out(scopes, 0);
  auto take = [&](std::uint64_t scope) {
    if (Item::number(value_of(queue(scope).pop())) != scope * each + out[scope]++)
      throw std::runtime_error("an item is lost or out of order");
  };
  for (std::uint64_t i = 0, scope = 0; i < looks; i++) {
    scope = (scope + scopes / 3 * 2 + 1) % scopes;
    if (out[scope] == 0) back.push_back(ns_of([&] { take(scope); }) / 1e6);
  }
  for (std::uint64_t scope = 0; scope < scopes; scope++)
    while (out[scope] < each) take(scope);
  std::sort(back.begin(), back.end());
  round.add("push, an item", push / static_cast<double>(scopes * each));
  round.add("parked, as memory ran short", static_cast<double>(parked_by_need));
  round.add("gc of the rest", gc / 1e6);
  round.add("pages, all parked", static_cast<double>(idle.page_bytes) / (1 << 20));
  round.add("segment, all parked", static_cast<double>(idle.segment_bytes) / (1 << 20));
  round.add("resident, at most", resident_mib());
  round.add("first pop of a parked one, median", back[back.size() / 2]);
  round.add("first pop of a parked one, 99 of 100", back[back.size() * 99 / 100]);
}

// -------------------------------------------------------------------------------------------------------- against SQLite

void against_plain(const Round& round) {
  const std::uint64_t count = round.count(2'000'000), rows = count / 10;
  SmallPond small;
  Pond pond = small.open();
  Queue queue = pond.scope("bench").queue("work");
  Item item;
  std::uint64_t next_in = 0, next_out = 0;
  auto push = [&] {
    for (std::uint64_t i = 0; i < count; i++) must(queue.push(item.with(next_in++)));
  };
  auto pop = [&] {
    for (std::uint64_t i = 0; i < count; i++)
      if (Item::number(value_of(queue.pop())) != next_out++) throw std::runtime_error("out of order");
  };
  Folder folder;
  Plain plain(folder.path() + "/plain.db");
  const std::uint64_t blobs = count * kRecordBytes / kBlobBytes;
  std::string blob(kBlobBytes, 'x'), back;
  std::uint64_t next_blob = 0, next_row = 0;
  auto write = [&] {
    for (std::uint64_t i = 0; i < blobs; i++) std::memcpy(blob.data(), &i, 8), plain.put(next_blob + i, blob);
  };
  auto read = [&] {
    for (std::uint64_t i = 0; i < blobs; i++) plain.get(next_blob, back), plain.drop(next_blob++);
  };
  auto a_thousand_a_commit = [&](auto&& write_row) {
    for (std::uint64_t i = 0; i < rows; i++) {
      if (i % 1000 == 0) plain.run("BEGIN");
      write_row(item.with(i));
      if (i % 1000 == 999) plain.run("COMMIT");
    }
  };
  auto write_rows = [&] { a_thousand_a_commit([&](Bytes bytes) { plain.row(next_row++, bytes); }); };
  auto queue_rows = [&] { a_thousand_a_commit([&](Bytes bytes) { plain.queue(bytes); }); };
  push();  // the segment is full from here on: every item pushed spills one
  double in = 0, out = 0, blobs_in = 0, blobs_out = 0, rows_in = 0, queued_in = 0;
  for (unsigned turn = 0; turn < 2; turn++) {
    in += ns_of(push), blobs_in += ns_of(write), rows_in += ns_of(write_rows) * 10,
        queued_in += ns_of(queue_rows) * 10;
    out += ns_of(pop), blobs_out += ns_of(read);
  }
  double n = 2 * static_cast<double>(count);
  round.add("push / plain write", in / blobs_in);
  round.add("push / barest rows, 1,000 a commit", in / rows_in);
  round.add("push / rows of a table of queues, 1,000 a commit", in / queued_in);
  round.add("push + pop / plain write + read + delete", (in + out) / (blobs_in + blobs_out));
  round.add("push, an item", in / n), round.add("pop, an item", out / n);
  round.add("plain write, as much", blobs_in / n), round.add("plain read + delete, as much", blobs_out / n);
}

std::vector<Benchmark> all() {
  const Bar none;
  return {
      {"spill: 64-byte items against plain SQLite, 16 MiB",
       5,
       against_plain,
       {{"push / plain write", "x", at_most(1.0)},
        {"push / barest rows, 1,000 a commit", "x", at_most(0.2)},
        {"push / rows of a table of queues, 1,000 a commit", "x", at_most(0.2)},
        {"push + pop / plain write + read + delete", "x", at_most(1.0)},
        {"push, an item", "ns", none},
        {"pop, an item", "ns", none},
        {"plain write, as much", "ns", none},
        {"plain read + delete, as much", "ns", none}}},
      {"spill: 10 million through 16 MiB, in order, one process",
       1,
       one_process,
       {{"push, an item", "ns", none},
        {"pop, an item", "ns", none},
        {"pages in the segment", "MiB", at_most(16)},
        {"resident, at most", "MiB", at_most(64)},
        {"on disk, all pushed", "MiB", none},
        {"on disk, all popped", "MiB", at_most(64)}}},
      {"spill: 10 million through 16 MiB, each once, four processes",
       1,
       four_each,
       {{"push and pop, an item", "ns", none},
        {"resident, at most", "MiB", at_most(64)},
        {"on disk, all popped", "MiB", at_most(64)}}},
      {"park: 100,000 scopes of 10 items each, 64 MiB",
       1,
       idle_scopes,
       {{"push, an item", "ns", none},
        {"parked, as memory ran short", "scopes", none},
        {"gc of the rest", "ms", none},
        {"pages, all parked", "MiB", none},
        {"segment, all parked", "MiB", none},
        {"resident, at most", "MiB", none},
        {"first pop of a parked one, median", "ms", at_most(5)},
        {"first pop of a parked one, 99 of 100", "ms", none}}},
  };
}

}  // namespace
}  // namespace headpond::bench

int main(int argc, char** argv) {
  using namespace headpond::bench;
  return bench_main(argc, argv, all());
}
