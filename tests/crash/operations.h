// The catalogue: what a process is killed in, from which start states, and what survivors may find afterwards.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "headpond/headpond.h"
#include "tests/support/patterned.h"

namespace crash {

using headpond::Bytes;
using headpond::milliseconds;
using headpond::Options;
using headpond::Status;

/// What the one that is killed tells: shared memory outside of the pond. A change here is a distinct state.
struct alignas(64) Scratch {
  std::atomic<std::uint64_t> returned;  // 1 + the code that the operation answered
  std::atomic<std::uint64_t> id;        // of what it pushed, if it did
  std::atomic<std::int32_t> victim;     // a process to be killed just before the operation
  // What a waiting third process tells.
  std::atomic<std::uint64_t> got;  // 1 + the item's number
  std::atomic<std::uint32_t> got_attempts, got_crashes;
};

/// One process's handles on the pond under test.
struct Stage {
  std::string name;
  Scratch* scratch = nullptr;
  std::optional<headpond::Pond> pond;
  std::optional<headpond::Queue> work, other;
  std::optional<headpond::Log> audit;
  std::vector<headpond::Claim> claims;
  std::optional<headpond::Reservation> reservation;

  void open(const Options& options, bool create);
  void close();
  /// Binds the queue's handle, so that the operation is not its first use.
  void warm();
  void push(std::uint64_t from, std::uint64_t to, headpond::PushOptions how = {}, std::size_t size = 100);
  void append(std::uint64_t from, std::uint64_t to, std::size_t size = 100);
  /// Claims so many and keeps them.
  void claim(std::size_t count = 1);
  void ack(std::size_t count);
  void pop(std::size_t count);
  /// Spills about so many bytes, or all that may go.
  Status spill(std::uint64_t bytes);
  /// Opens the durable tier, so that the operation is not its first use.
  void open_tier();
  /// A process that claims one item and waits to be killed; `scratch->victim`.
  void start_victim(const Options& options);
};

/// A payload that tells its number, made once.
const std::string& item(std::uint64_t number, std::size_t size = 100);
using support::number_of;

using Start = std::function<void(Stage&)>;
using Operate = std::function<Status(Stage&)>;

/// What survivors find is written as text:
///
///   1 2:2/1 3 | dead 4:1/0 | other 5 | log 1=11 2=12 | work paused | scope items 50 | cursor 2
///
/// the items of "work" in the order of their delivery, where :attempts/crashes stands if this is not the first claim; its dead letters; the
/// items of "other"; seq=number of the log's records; what queues and the scope are set to; the cursor's place (settings_found.h). What is
/// empty is left out. Where `saves`, what a loss of the segment at the moment of the kill leaves of settings and cursors follows behind " //".
struct Operation {
  std::string name, state;
  Options options;
  Start prepare;         // by the survivor, which has created the pond
  Start prepare_doomed;  // by the one that will be killed, after it attached
  Operate operate;
  std::vector<std::string> allowed;  // the last one: once the operation has returned
  bool creates = false;              // the doomed one makes the pond; nobody is attached before
  bool attaches = false;             // the doomed one is not attached before
  bool removes = false;              // the pond may be gone afterwards
  bool twice = false;                // the reaper is killed, too
  int quick = 40;                    // points in `quick`, 0: left to `all`; what uses a disk takes its time
  bool waiter = false;               // a third process is asleep in claim(2s)
  bool posts = false;                // the posting queue is there, and keeps a page
  bool saves = false;  // settings or cursors go to the durable tier; the reaper of a double kill flushes, too
  std::string full_name() const { return name + "/" + state; }
};

const std::vector<Operation>& catalogue();
/// Its parts about what spills, is durable or parks, and about what is saved of settings and cursors.
std::vector<Operation> tier_operations();
std::vector<Operation> settings_operations();

// For those who write it down.
Options tiny_pond();
/// Not the pond's fault, perhaps: the machine was busy. The same kill is tried again.
struct Slow : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// Throws what was answered: a timeout is Slow.
void must(const Status& status, const char* what);
template <class T>
T must(headpond::Result<T> result, const char* what) {
  must(result.status(), what);
  return std::move(*result);
}
/// "1 2 3"
std::string run(std::uint64_t from, std::uint64_t to);
/// Items, or records, from 1 to `to` are there.
Start items(std::uint64_t to);
Start records(std::uint64_t to);
/// Pushes item 101, and says its id.
Operate push_one(headpond::PushOptions how, std::size_t size = 100);
Operate pop_many(std::size_t count);
/// Parks all that is idle.
void park_all(Stage& stage);
/// The same, once somebody does it who need not wait.
void rest(Stage& stage);

}  // namespace crash
