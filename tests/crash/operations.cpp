#include "operations.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <map>
#include <stdexcept>
#include <thread>

#include "src/attachment.h"
#include "src/spill.h"
#include "src/sys.h"
#include "src/tier_side.h"

namespace crash {

using namespace headpond;
using namespace std::chrono_literals;

void must(const Status& status, const char* what) {
  if (status) return;
  const std::string text =
      std::string(what) + " answered " + std::string(name(status.code())) + ": " + status.text();
  if (status.code() == Code::timeout) throw Slow(text);
  throw std::runtime_error(text);
}

namespace {

/// Until the clocks of the pond, which tick in steps of some ms, say that so much time has passed.
void pass(milliseconds time) {
  const std::uint64_t wall = internal::sys::wall_ms() + static_cast<std::uint64_t>(time.count()),
                      coarse = internal::sys::coarse_us() + static_cast<std::uint64_t>(time.count()) * 1000;
  while (internal::sys::wall_ms() <= wall || internal::sys::coarse_us() <= coarse) ::usleep(500);
}

Status told(Stage& s, const Result<ItemId>& id) {
  if (id) s.scratch->id = id->value;
  return id.status();
}

}  // namespace

std::string run(std::uint64_t from, std::uint64_t to) {
  std::string out;
  for (std::uint64_t n = from; n <= to; n++) out += (out.empty() ? "" : " ") + std::to_string(n);
  return out;
}

// -------------------------------------------------------------------------------------------------------------------- items

const std::string& item(std::uint64_t number, std::size_t size) {
  static std::map<std::pair<std::uint64_t, std::size_t>, std::string> made;
  std::string& out = made[{number, size}];
  if (out.empty()) out = support::patterned(number, size);
  return out;
}

// -------------------------------------------------------------------------------------------------------------------- stage

void Stage::open(const Options& options, bool create) {
  pond.emplace(must(
      create ? Pond::open(name, options)
             : Pond::open_existing(name, {.durable_timeout = options.durable_timeout, .spin = options.spin}),
      "open"));
  Scope scope = pond->scope("scope");
  work.emplace(scope.queue("work"));
  other.emplace(scope.queue("other"));
  audit.emplace(scope.log("audit"));
}
void Stage::close() {
  claims.clear();
  reservation.reset();
  audit.reset(), other.reset(), work.reset(), pond.reset();
}
void Stage::warm() {
  (void)work->size();
  (void)audit->last_seq();
}
void Stage::push(std::uint64_t from, std::uint64_t to, PushOptions how, std::size_t size) {
  for (std::uint64_t n = from; n <= to; n++) must(work->push(item(n, size), how), "push");
}
void Stage::append(std::uint64_t from, std::uint64_t to, std::size_t size) {
  for (std::uint64_t n = from; n <= to; n++) must(audit->append(item(n, size)), "append");
}
void Stage::claim(std::size_t count) {
  claims.reserve(claims.size() + count);
  for (std::size_t i = 0; i < count; i++) claims.push_back(must(work->claim(), "claim"));
}
void Stage::ack(std::size_t count) {
  for (std::size_t i = 0; i < count; i++) must(claims[i].ack(), "ack");
  claims.erase(claims.begin(), claims.begin() + static_cast<std::ptrdiff_t>(count));
}
void Stage::pop(std::size_t count) {
  for (std::size_t i = 0; i < count; i++) must(work->pop(), "pop");
}
Status Stage::spill(std::uint64_t bytes) {
  auto attachment = must(internal::Attachment::open(name, Options{}, false), "attach");
  internal::Spilled out;
  return internal::spill_some(*attachment->thread(), bytes, out);
}
void Stage::open_tier() {
  auto attachment = must(internal::Attachment::open(name, Options{}, false), "attach");
  must(attachment->tier_side().tier(*attachment->thread()).status(), "open the tier");
}
void Stage::start_victim(const Options& options) {
  scratch->victim = 0;
  if (pid_t pid = ::fork(); pid != 0) {
    while (scratch->victim != pid) ::usleep(50);
    return;
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  Stage* victim = new Stage{.name = name, .scratch = scratch};
  try {
    victim->open(options, false);
    victim->claim();
  } catch (...) {
    ::_exit(99);
  }
  scratch->victim = ::getpid();
  for (;;) ::pause();
}

// The first look makes a time of a mark of use.
void rest(Stage& s) { must(s.pond->gc({.spill_idle = 1h}), "gc"), ::usleep(8000); }
void park_all(Stage& s) { rest(s), must(s.pond->gc({.spill_idle = 1ms}), "gc"); }

Start items(std::uint64_t to) {
  return [to](Stage& s) { s.push(1, to); };
}
Start records(std::uint64_t to) {
  return [to](Stage& s) { s.append(1, to); };
}
Operate push_one(PushOptions how, std::size_t size) {
  return [=](Stage& s) { return told(s, s.work->push(item(101, size), how)); };
}
Operate pop_many(std::size_t count) {
  return [count](Stage& s) { return s.work->pop_many(count).status(); };
}

// ---------------------------------------------------------------------------------------------------------------- catalogue

Options tiny_pond() {
  return {.limit_bytes = 1 << 20,
          .max_participants = 8,
          .max_page_bytes = 4096,
          .durable_timeout = 60s,
          .spin = std::chrono::microseconds(0)};
}

const std::vector<Operation>& catalogue() {
  static const std::vector<Operation> all = [] {
    const Options tiny = tiny_pond();
    Options roomy = tiny, leased = tiny, one_attempt = tiny;
    roomy.max_page_bytes = 65536;
    leased.queue.lease = 1ms;
    one_attempt.queue.max_attempts = 1;

    std::vector<Operation> out;
    // The operation is complete when its last field is set; `add` gives it the usual rest.
    auto add = [&](Operation op) -> Operation& {
      if (!op.options.limit_bytes) op.options = tiny;
      if (!op.prepare) op.prepare = [](Stage&) {};
      if (!op.prepare_doomed) op.prepare_doomed = [](Stage& s) { s.warm(); };
      out.push_back(std::move(op));
      return out.back();
    };
    auto cold = [](Stage&) {};
    auto taken = [](std::size_t count) { return [count](Stage& s) { s.claim(count); }; };
    // What the doomed one pushes is made before it is traced: here.
    for (std::uint64_t n : {101, 102, 103})
      for (std::size_t size : {100, 700, 2000, 5000, 64 << 10}) (void)item(n, size);
    auto push_three = [=](PushOptions how, std::size_t size) {
      return [=](Stage& s) {
        Bytes three[] = {item(101, size), item(102, size), item(103, size)};
        return told(s, s.work->push_many(three, how));
      };
    };

    // ------------------------------------------------------------------------------------------------------------------ push
    Operation push{.name = "push",
                   .state = "some",
                   .prepare = items(3),
                   .operate = push_one({}),
                   .allowed = {"1 2 3", "1 2 3 101"}};
    add(push);
    push.state = "cold", push.prepare_doomed = cold, add(push);
    push.prepare_doomed = {};
    push.state = "drained", push.prepare = [](Stage& s) { s.push(1, 3), s.pop(3); },
    push.allowed = {"", "101"};
    push.waiter = true, add(push), push.waiter = false;
    push.state = "new-queue", push.prepare = {}, push.prepare_doomed = cold, push.twice = true, add(push);
    push.prepare_doomed = {};
    push.state = "page-full", push.prepare = items(6), push.allowed = {run(1, 6), run(1, 6) + " 101"},
    add(push);
    push.twice = false;
    push.state = "pages", push.prepare = items(30), push.allowed = {run(1, 30), run(1, 30) + " 101"},
    add(push);

    add({.name = "push-many",
         .state = "some",
         .prepare = items(3),
         .operate = push_three({}, 100),
         .allowed = {"1 2 3", "1 2 3 101 102 103"}});
    add({.name = "push-many",
         .state = "page-full",
         .prepare = items(5),
         .operate = push_three({}, 100),
         .allowed = {run(1, 5), run(1, 5) + " 101 102 103"}});
    add({.name = "push-many",
         .state = "own-page",
         .prepare = items(3),
         .operate = push_three({}, 700),
         .allowed = {"1 2 3", "1 2 3 101 102 103"},
         .twice = true});
    add({.name = "push-many",
         .state = "own-page-first",
         .operate = push_three({}, 700),
         .allowed = {"", "101 102 103"}});
    add({.name = "push-large",
         .state = "some",
         .prepare = items(3),
         .operate = push_one({}, 64 << 10),
         .allowed = {"1 2 3", "1 2 3 101"}});
    add({.name = "push-large",
         .state = "behind-large",
         .prepare = [](Stage& s) { s.push(1, 1, {}, 5000); },
         .operate = push_one({}, 5000),
         .allowed = {"1", "1 101"}});

    auto reserve = [=](std::size_t size) {
      return [=](Stage& s) -> Status {
        auto room = s.work->reserve(size);
        if (!room) return room.status();
        std::memcpy(room->data().data(), item(101, size).data(), size);
        s.scratch->id = room->commit().value;
        return {};
      };
    };
    add({.name = "reserve-commit",
         .state = "some",
         .prepare = items(3),
         .operate = reserve(100),
         .allowed = {"1 2 3", "1 2 3 101"},
         .waiter = false});
    add({.name = "reserve-commit",
         .state = "own-page",
         .prepare = items(3),
         .operate = reserve(2000),
         .allowed = {"1 2 3", "1 2 3 101"}});
    add({.name = "reserve-abandon",
         .state = "some",
         .prepare = items(3),
         .operate = [](Stage& s) { return s.work->reserve(100).status(); },
         .allowed = {"1 2 3"}});
    add({.name = "reserve-abandon",
         .state = "own-page",
         .prepare = items(3),
         .operate = [](Stage& s) { return s.work->reserve(2000).status(); },
         .allowed = {"1 2 3"}});

    add({.name = "push-delayed",
         .state = "first",
         .prepare = items(1),
         .operate = push_one({.delay = 5ms}),
         .allowed = {"1", "1 101"}});
    add({.name = "push-delayed",
         .state = "own-page",
         .prepare = items(1),
         .operate = push_one({.delay = 5ms}, 2000),
         .allowed = {"1", "1 101"}});
    add({.name = "push-delayed",
         .state = "many-own-page",
         .prepare = items(1),
         .operate = push_three({.delay = 5ms}, 700),
         .allowed = {"1", "1 101 102 103"}});
    add({.name = "push-priority",
         .state = "first",
         .prepare = items(2),
         .operate = push_one({.priority = 5}),
         .allowed = {"1 2", "101 1 2"}});

    // ----------------------------------------------------------------------------------------------------------------- claim
    auto claim_one = [](Stage& s) -> Status {
      auto claim = s.work->claim();
      if (claim) s.claims.push_back(std::move(*claim));
      return claim.status();
    };
    auto ready_vector = [](Stage& s) { s.warm(), s.claims.reserve(8); };
    Operation claim{.name = "claim",
                    .state = "some",
                    .prepare = items(3),
                    .prepare_doomed = ready_vector,
                    .operate = claim_one,
                    .allowed = {"1 2 3", "1:2/1 2 3"},
                    .twice = true};
    add(claim);
    claim.twice = false;
    claim.state = "cold", claim.prepare_doomed = cold, add(claim);
    claim.prepare_doomed = ready_vector;
    claim.state = "claimed-before", claim.prepare = items(3),
    claim.prepare_doomed = [](Stage& s) { s.claims.reserve(8), s.claim(2); },
    claim.allowed = {"1:2/1 2:2/1 3", "1:2/1 2:2/1 3:2/1"}, add(claim);
    claim.prepare = [](Stage& s) { s.push(1, 1, {.delay = 1ms}), pass(2ms); },
    claim.prepare_doomed = ready_vector, claim.allowed = {"1", "1:2/1"};
    claim.state = "due", claim.twice = true, add(claim);
    claim.state = "due-own-page", claim.twice = false,
    claim.prepare = [](Stage& s) { s.push(1, 1, {.delay = 1ms}, 2000), pass(2ms); }, add(claim);
    claim.state = "crossing", claim.twice = true;
    claim.prepare = [](Stage& s) { s.push(1, 6); },
    claim.prepare_doomed = [](Stage& s) { s.claims.reserve(8), s.pop(6), s.push(7, 8); },
    claim.allowed = {"7 8", "7:2/1 8"}, add(claim);
    claim.twice = false;
    claim.state = "spent", claim.options = one_attempt,
    claim.prepare =
        [](Stage& s) { s.push(1, 3), s.claim(), must(s.claims[0].nack(), "nack"), s.claims.clear(); },
    claim.prepare_doomed = ready_vector;
    // Killed while it has the spent item in hand: that counts as an attempt and a crash.
    claim.allowed = {"2 3 | dead 1:1/0", "2 3 | dead 1:2/1", "3 | dead 1:1/0 2:1/1"}, add(claim);
    claim.state = "expired", claim.options = leased,
    claim.prepare = [](Stage& s) { s.push(1, 1), s.claim(), pass(2ms); }, claim.allowed = {"1:2/0", "1:3/1"},
    add(claim);
    add({.name = "claim-many",
         .state = "some",
         .prepare = items(4),
         .prepare_doomed = ready_vector,
         .operate = [](Stage& s) -> Status {
           auto claims = s.work->claim_many(3);
           if (claims) s.claims = std::move(*claims);
           return claims.status();
         },
         .allowed = {"1 2 3 4", "1:2/1 2 3 4", "1:2/1 2:2/1 3 4", "1:2/1 2:2/1 3:2/1 4"}});
    add({.name = "pop",
         .state = "some",
         .prepare = items(3),
         .operate = pop_many(1),
         .allowed = {"1 2 3", "1:2/1 2 3", "2 3"}});
    add({.name = "pop",
         .state = "last-of-page",
         .prepare = items(8),
         .prepare_doomed = [](Stage& s) { s.pop(5); },
         .operate = pop_many(1),
         .allowed = {"6 7 8", "6:2/1 7 8", "7 8"}});
    add({.name = "pop-many",
         .state = "some",
         .prepare = items(4),
         .operate = pop_many(3),
         .allowed = {"1 2 3 4", "1:2/1 2 3 4", "2 3 4", "2:2/1 3 4", "3 4", "3:2/1 4", "4"}});

    // ---------------------------------------------------------------------------------------------------- what ends a claim
    Operation ack{.name = "ack",
                  .state = "some",
                  .prepare = items(3),
                  .prepare_doomed = taken(1),
                  .operate = [](Stage& s) { return s.claims[0].ack(); },
                  .allowed = {"1:2/1 2 3", "2 3"}};
    add(ack);
    ack.state = "last-of-page", ack.twice = true;
    ack.prepare = items(8), ack.prepare_doomed = [](Stage& s) { s.claim(6), s.ack(5); },
    ack.allowed = {"6:2/1 7 8", "7 8"}, add(ack);
    ack.state = "last-of-middle-page";
    ack.prepare = [](Stage& s) { s.push(1, 22), s.claim(); };
    ack.prepare_doomed = [](Stage& s) { s.claim(20), s.ack(19); };
    ack.allowed = {"1:2/0 21:2/1 22", "1:2/0 22"}, add(ack);
    ack.twice = false;
    ack.state = "own-page", ack.prepare = [](Stage& s) { s.push(1, 1, {}, 5000), s.push(2, 2); },
    ack.prepare_doomed = taken(1), ack.allowed = {"1:2/1 2", "2"}, add(ack);

    auto nack = [](NackOptions how) { return [how](Stage& s) { return s.claims[0].nack(how); }; };
    add({.name = "nack",
         .state = "some",
         .prepare = items(3),
         .prepare_doomed = taken(1),
         .operate = nack({}),
         .allowed = {"1:2/1 2 3", "1:2/0 2 3"},
         .twice = true});
    add({.name = "nack",
         .state = "only",
         .prepare = items(1),
         .prepare_doomed = taken(1),
         .operate = nack({}),
         .allowed = {"1:2/1", "1:2/0"},
         .waiter = true});
    add({.name = "nack-delayed",
         .state = "some",
         .prepare = items(3),
         .prepare_doomed = taken(1),
         .operate = nack({.delay = 1ms}),
         .allowed = {"1:2/1 2 3", "2 3 1:2/0"}});
    auto bury = [](Stage& s) { return s.claims[0].bury("because"); };
    add({.name = "bury",
         .state = "some",
         .prepare = items(3),
         .prepare_doomed = taken(1),
         .operate = bury,
         .allowed = {"1:2/1 2 3", "2 3 | dead 1:1/0"},
         .twice = true});
    add({.name = "bury",
         .state = "own-page",
         .prepare = [](Stage& s) { s.push(1, 1, {}, 2000), s.push(2, 2); },
         .prepare_doomed = taken(1),
         .operate = bury,
         .allowed = {"1:2/1 2", "2 | dead 1:1/0"}});
    add({.name = "extend",
         .state = "leased",
         .options = leased,
         .prepare = items(3),
         .prepare_doomed = taken(1),
         .operate = [](Stage& s) { return s.claims[0].extend(60'000ms); },
         .allowed = {"1:2/1 2 3"}});
    // Without a lease a claim is sole: it must become one that others may end first.
    add({.name = "extend",
         .state = "sole",
         .prepare = items(3),
         .prepare_doomed = taken(1),
         .operate = [](Stage& s) { return s.claims[0].extend(60'000ms); },
         .allowed = {"1:2/1 2 3"}});

    auto one_dead = [](Stage& s) {
      s.push(1, 3), s.claim(), must(s.claims[0].bury("because"), "bury"), s.claims.clear();
    };
    add({.name = "redrive",
         .state = "some",
         .prepare = one_dead,
         .operate = [](Stage& s) { return s.work->redrive().status(); },
         .allowed = {"2 3 | dead 1:1/0", "2 3 1"},
         .twice = true});
    add({.name = "cancel",
         .state = "ready",
         .prepare = items(3),
         .operate = [](Stage& s) { return s.work->cancel({2}); },
         .allowed = {"1 2 3", "1 3"}});
    add({.name = "cancel",
         .state = "dead",
         .prepare = one_dead,
         .operate = [](Stage& s) { return s.work->cancel({1}); },
         .allowed = {"2 3 | dead 1:1/0", "2 3"}});

    // ----------------------------------------------------------------------------------------------------------------- clear
    auto all_lanes = [](Stage& s) {
      s.push(1, 4);
      s.claim(2);
      must(s.claims[0].bury("because"), "bury");
      s.claims.erase(s.claims.begin());  // 2 stays claimed
      s.push(5, 5, {.priority = 2});
      s.push(6, 6, {.delay = 5ms});
    };
    add({.name = "clear",
         .state = "all-lanes",
         .prepare = all_lanes,
         .operate = [](Stage& s) { return s.work->clear().status(); },
         .allowed = {"5 2:2/0 3 4 6 | dead 1:1/0", ""},
         .twice = true});
    // Open sole claims: the clear counts their items and leaves the records to their owner.
    add({.name = "clear",
         .state = "sole-claims",
         .prepare = items(4),
         .prepare_doomed = taken(2),
         .operate = [](Stage& s) { return s.work->clear().status(); },
         .allowed = {"1:2/1 2:2/1 3 4", ""}});
    auto claimed_then_cleared = [](Stage& s) { s.claim(2), must(s.work->clear().status(), "clear"); };
    auto is_fenced = [](const Status& answer) {
      return answer == Code::fenced ? Status() : Status(Code::corruption, "not fenced");
    };
    add({.name = "ack",
         .state = "of-cleared",
         .prepare = items(4),
         .prepare_doomed = claimed_then_cleared,
         .operate = [=](Stage& s) { return is_fenced(s.claims[0].ack()); },
         .allowed = {""},
         .twice = true});
    add({.name = "nack",
         .state = "of-cleared",
         .prepare = items(4),
         .prepare_doomed = claimed_then_cleared,
         .operate = [=](Stage& s) { return is_fenced(s.claims[0].nack()); },
         .allowed = {""}});
    add({.name = "clear",
         .state = "pages",
         .prepare = items(30),
         .operate = [](Stage& s) { return s.work->clear().status(); },
         .allowed = {run(1, 30), ""}});
    add({.name = "scope-clear",
         .state = "all-kinds",
         .prepare =
             [](Stage& s) {
               s.push(1, 2), must(s.other->push(item(3)), "push"), s.append(11, 12),
                   must(s.audit->commit("reader", 1), "commit");
             },
         .operate = [](Stage& s) { return s.pond->scope("scope").clear().status(); },
         // Its queues, logs and cursors go one after the other, each wholly; the youngest first.
         .allowed = {"1 2 | other 3 | log 1=11 2=12 | cursor 1", "1 2 | other 3 | log 1=11 2=12",
                     "1 2 | other 3", "1 2", ""}});

    // ------------------------------------------------------------------------------------------------------------------- log
    auto append = [](std::size_t size) {
      return [size](Stage& s) { return s.audit->append(item(101, size)).status(); };
    };
    add({.name = "append",
         .state = "some",
         .prepare = records(2),
         .operate = append(100),
         .allowed = {" | log 1=1 2=2", " | log 1=1 2=2 3=101"}});
    add({.name = "append",
         .state = "new-log",
         .prepare_doomed = cold,
         .operate = append(100),
         .allowed = {"", " | log 1=101"}});
    add({.name = "append",
         .state = "page-full",
         .prepare = records(6),
         .operate = append(100),
         .allowed = {" | log 1=1 2=2 3=3 4=4 5=5 6=6", " | log 1=1 2=2 3=3 4=4 5=5 6=6 7=101"},
         .twice = true});
    add({.name = "append",
         .state = "own-page",
         .prepare = records(1),
         .operate = append(5000),
         .allowed = {" | log 1=1", " | log 1=1 2=101"}});
    add({.name = "append-many",
         .state = "some",
         .prepare = records(1),
         .operate =
             [](Stage& s) {
               Bytes two[] = {item(101), item(102)};
               return s.audit->append_many(two).status();
             },
         .allowed = {" | log 1=1", " | log 1=1 2=101 3=102"}});
    add({.name = "trim",
         .state = "pages",
         .prepare = records(8),
         .operate = [](Stage& s) { return s.audit->trim(8).status(); },
         .allowed = {" | log 1=1 2=2 3=3 4=4 5=5 6=6 7=7 8=8", " | log 8=8"},
         .twice = true});
    add({.name = "commit",
         .state = "new-cursor",
         .prepare = records(2),
         .operate = [](Stage& s) { return s.audit->commit("reader", 2).status(); },
         .allowed = {" | log 1=1 2=2", " | log 1=1 2=2 | cursor 2"}});
    add({.name = "commit",
         .state = "again",
         .prepare = [](Stage& s) { s.append(1, 2), must(s.audit->commit("reader", 1), "commit"); },
         .operate = [](Stage& s) { return s.audit->commit("reader", 2).status(); },
         .allowed = {" | log 1=1 2=2 | cursor 1", " | log 1=1 2=2 | cursor 2"}});
    add({.name = "drop-cursor",
         .state = "some",
         .prepare = [](Stage& s) { s.append(1, 2), must(s.audit->commit("reader", 1), "commit"); },
         .operate = [](Stage& s) { return s.audit->drop_cursor("reader"); },
         .allowed = {" | log 1=1 2=2 | cursor 1", " | log 1=1 2=2"}});

    // ------------------------------------------------------------------------------------------------------- pages, processes
    add({.name = "shrink",
         .state = "drained",
         .options = roomy,
         .prepare = [](Stage& s) { s.push(1, 70), s.pop(70); },
         .prepare_doomed =
             [](Stage& s) {
               for (int i = 0; i < 7; i++) (void)s.work->claim();
             },
         .operate = [](Stage& s) -> Status {
           return s.work->claim().code() == Code::empty ? Code::ok : Code::invalid;
         },
         .allowed = {""},
         .twice = true});
    add({.name = "make-room",
         .state = "drained",
         .options = roomy,
         .prepare = [](Stage& s) { s.push(1, 70), s.pop(70); },
         .operate = [](Stage& s) { return s.pond->reap().status(); },
         .allowed = {""}});

    auto open_it = [tiny](Stage& s) -> Status {
      s.open(tiny, true);
      return {};
    };
    add({.name = "create", .state = "none", .operate = open_it, .allowed = {""}, .creates = true});
    add({.name = "attach",
         .state = "one",
         .prepare = items(2),
         .operate = open_it,
         .allowed = {"1 2"},
         .attaches = true,
         .twice = true});
    add({.name = "attach",
         .state = "dead-claimer",
         .prepare = [tiny](Stage& s) { s.push(1, 2), s.start_victim(tiny); },
         .operate = open_it,
         .allowed = {"1:2/1 2"},
         .attaches = true});
    auto leave = [](Stage& s) -> Status {
      s.close();
      return {};
    };
    add({.name = "detach", .state = "quiet", .prepare = items(2), .operate = leave, .allowed = {"1 2"}});
    add({.name = "detach",
         .state = "claimed",
         .prepare = items(2),
         .prepare_doomed = [](Stage& s) { s.claim(), new Claim(std::move(s.claims[0])), s.claims.clear(); },
         .operate = leave,
         .allowed = {"1:2/1 2"}});
    auto victim = [tiny](Stage& s) { s.warm(), s.start_victim(tiny); };
    auto reap = [](Stage& s) { return s.pond->reap().status(); };
    add({.name = "reap",
         .state = "dead-claimer",
         .prepare = items(2),
         .prepare_doomed = victim,
         .operate = reap,
         .allowed = {"1:2/1 2"},
         .twice = true});
    add({.name = "reap",
         .state = "dead-claimer-of-all",
         .prepare = items(1),
         .prepare_doomed = victim,
         .operate = reap,
         .allowed = {"1:2/1"},
         .waiter = true});
    add({.name = "remove",
         .state = "attached",
         .prepare = items(2),
         .operate = [](Stage& s) { return Pond::remove(s.name); },
         .allowed = {"1 2", "removed"},
         .removes = true});
    for (Operation& op : tier_operations()) add(std::move(op));
    for (Operation& op : settings_operations()) add(std::move(op));
    return out;
  }();
  return all;
}

}  // namespace crash
