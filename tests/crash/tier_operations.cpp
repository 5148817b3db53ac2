// What goes to the durable tier and comes back: pages that spill, durable operations, streams that park.
#include <chrono>

#include "operations.h"
#include "src/attachment.h"

namespace crash {

using namespace headpond;
using namespace std::chrono_literals;

constexpr std::uint64_t kFirstThatIsRefused = 1507,
                        kTakeTheReserve = 35;  // items of 1,500 bytes in a tiny pond

std::vector<Operation> tier_operations() {
  std::vector<Operation> out;
  auto add = [&](const Operation& op) { out.push_back(op); };

  // ------------------------------------------------------------------------------------------------------ the durable tier
  auto spill = [](Stage& s) -> Status { return s.spill(1 << 20); };
  auto spilled = [](std::uint64_t to) {
    return [to](Stage& s) { s.push(1, to), must(s.spill(1 << 20), "spill"); };
  };
  Operation out_it_goes{.name = "spill",
                        .state = "first",  // the tier is made, too
                        .prepare = items(70),
                        .operate = spill,
                        .allowed = {run(1, 70)},
                        .twice = true,
                        .quick = 0};
  add(out_it_goes);
  out_it_goes.state = "again", out_it_goes.twice = false, out_it_goes.quick = 12;
  out_it_goes.prepare = [=](Stage& s) { spilled(70)(s), s.pop(8), s.push(71, 96); };
  out_it_goes.prepare_doomed = [](Stage& s) { s.warm(), s.open_tier(); };
  out_it_goes.allowed = {run(9, 96)}, add(out_it_goes);
  out_it_goes.quick = 0, out_it_goes.state = "acked", out_it_goes.prepare = [](Stage& s) {
    s.push(1, 70), s.claim(30);
    for (std::size_t i = 10; i < 20; i++) must(s.claims[i].ack(), "ack");
    s.claims.clear(), s.open_tier();
  };
  out_it_goes.allowed = {[] {
    std::string left;
    for (std::uint64_t n = 1; n <= 70; n++)
      if (n <= 10 || n > 20) left += (left.empty() ? "" : " ") + std::to_string(n) + (n <= 30 ? ":2/0" : "");
    return left;
  }()};
  add(out_it_goes);
  out_it_goes.state = "log", out_it_goes.prepare = [](Stage& s) { s.append(1, 40), s.open_tier(); };
  out_it_goes.allowed = {[] {
    std::string all = " | log";
    for (std::uint64_t n = 1; n <= 40; n++) all += " " + std::to_string(n) + "=" + std::to_string(n);
    return all;
  }()};
  add(out_it_goes);
  // Another lane gets its first page in a pond that is full: what nobody used goes to the disk before.
  const auto full = [](Stage& s) {
    s.push(1, 1, {}, 3000), s.push(2, 2), s.open_tier();
    std::uint64_t last = 1001;
    while (s.other->push(item(last, 1500), {.full_timeout = 0ms})) last++;
    if (last != kFirstThatIsRefused) throw std::runtime_error(std::to_string(last) + " is the first refused");
    // Two a page, which stays when one of them moves: so moves take the reserve.
    auto claims = must(s.other->claim_many(2 * kTakeTheReserve), "claim");
    for (std::size_t i = 0; i < claims.size(); i++)
      must(claims[i].nack({.delay = i % 2 ? 0ms : 1ms}), "nack");
    auto attachment = must(internal::Attachment::open(s.name, Options{}, false), "attach");
    const std::uint64_t used = attachment->segment().header().units_used.load();
    if (used + 4 <= (1 << 20) / internal::kUnit)
      throw std::runtime_error(std::to_string(used) + " units are used");
  };
  std::string rest_of_it = " | other";
  for (std::uint64_t n = 1001; n < kFirstThatIsRefused; n++)
    if (n > 1000 + 2 * kTakeTheReserve)
      rest_of_it += " " + std::to_string(n);
    else if (n % 2 == 0)
      rest_of_it += " " + std::to_string(n) + ":2/0";
  for (std::uint64_t n = 1001; n <= 1000 + 2 * kTakeTheReserve; n += 2)
    rest_of_it += " " + std::to_string(n) + ":2/0";
  Operation moved{.name = "nack-delayed",
                  .state = "full",
                  .prepare = full,
                  .prepare_doomed = [](Stage& s) { s.warm(), s.open_tier(), s.claim(); },
                  .operate = [](Stage& s) { return s.claims[0].nack({.delay = 1ms}); },
                  .allowed = {"1:2/1 2" + rest_of_it, "2 1:2/0" + rest_of_it},
                  // tracing it takes most of a minute
                  .quick = 0};
  add(moved);
  moved.name = "bury", moved.operate = [](Stage& s) { return s.claims[0].bury("because"); };
  moved.allowed = {"1:2/1 2" + rest_of_it, "2 | dead 1:1/0" + rest_of_it}, add(moved);
  Operation back_it_comes{.name = "refill",
                          .state = "pop",
                          .prepare = [=](Stage& s) { spilled(70)(s), s.pop(5); },
                          .prepare_doomed = [](Stage& s) { s.warm(), s.open_tier(), s.pop(1); },
                          .operate = [](Stage& s) { return s.work->pop().status(); },
                          .allowed = {run(7, 70), "7:2/1 " + run(8, 70), run(8, 70)},
                          .twice = true,
                          .quick = 12};
  add(back_it_comes);
  back_it_comes.state = "cold", back_it_comes.twice = false, back_it_comes.quick = 0;
  back_it_comes.prepare = [=](Stage& s) { spilled(70)(s), s.pop(6); },
  back_it_comes.prepare_doomed = [](Stage&) {};
  add(back_it_comes);
  back_it_comes.state = "not-ahead", back_it_comes.prepare_doomed = [](Stage& s) { s.warm(), s.open_tier(); };
  add(back_it_comes);
  // The doomed one's clock is half an hour ahead, that of the others two: there everything is due.
  auto ahead = [](milliseconds by) { internal::sys::wall_ahead_ms = static_cast<std::uint64_t>(by.count()); };
  auto spilled_delayed = [=](std::uint64_t from, std::uint64_t to) {  // these are due first
    return [=](Stage& s) {
      ahead(0ms);
      s.push(1, from - 1, {.delay = 1h}), s.push(from, to, {.delay = 10min});
      s.push(to + 1, 96, {.delay = 1h}), must(s.spill(1 << 20), "spill");
      ahead(2h);
    };
  };
  Operation due_it_comes{
      .name = "refill-due",
      .state = "middle",
      .prepare = spilled_delayed(40, 40),
      .prepare_doomed = [=](Stage& s) { ahead(30min), s.warm(), s.open_tier(); },
      .operate = [](Stage& s) { return s.work->pop().status(); },
      .allowed = {run(1, 96), "40 " + run(1, 39) + " " + run(41, 96),
                  "40:2/1 " + run(1, 39) + " " + run(41, 96), run(1, 39) + " " + run(41, 96)},
      .twice = true,
      .quick = 12};
  add(due_it_comes);
  due_it_comes.twice = false, due_it_comes.state = "front", due_it_comes.prepare = spilled_delayed(10, 10);
  due_it_comes.allowed = {run(1, 96), "10 " + run(1, 9) + " " + run(11, 96),
                          "10:2/1 " + run(1, 9) + " " + run(11, 96), run(1, 9) + " " + run(11, 96)};
  add(due_it_comes);
  add({.name = "cancel",
       .state = "delayed-spilled",
       .prepare = spilled_delayed(40, 40),
       .prepare_doomed = [](Stage& s) { s.warm(), s.open_tier(); },
       .operate = [](Stage& s) { return s.work->cancel(ItemId{8ULL << 60 | 40}); },
       .allowed = {run(1, 96), run(1, 39) + " " + run(41, 96)},
       .quick = 12});
  add({.name = "spill",
       .state = "spent",
       .prepare = [=](Stage& s) { spilled_delayed(15, 60)(s), ahead(30min), s.pop(46), ahead(2h); },
       .prepare_doomed = [](Stage& s) { s.warm(), s.open_tier(); },
       .operate = spill,
       .allowed = {run(1, 14) + " " + run(61, 96)},
       .twice = true,
       .quick = 12});
  add({.name = "clear",
       .state = "spilled",
       .prepare = spilled(70),
       .prepare_doomed = [](Stage& s) { s.warm(), s.open_tier(); },
       .operate = [](Stage& s) { return s.work->clear().status(); },
       .allowed = {run(1, 70), ""},
       .twice = true,
       .quick = 12});
  add({.name = "erase-rows",
       .state = "popped",
       .prepare = spilled(70),
       .prepare_doomed = [](Stage& s) { s.warm(), s.pop(60); },
       .operate = [](Stage& s) { return s.pond->reap().status(); },
       .allowed = {run(61, 70)},
       .quick = 12});
  add({.name = "trim",
       .state = "spilled",
       .prepare = [](Stage& s) { s.append(1, 40), must(s.spill(1 << 20), "spill"); },
       .prepare_doomed = [](Stage& s) { s.warm(), s.open_tier(); },
       .operate = [](Stage& s) { return s.audit->trim(40).status(); },
       .allowed = {[] {
                     std::string all = " | log";
                     for (std::uint64_t n = 1; n <= 40; n++)
                       all += " " + std::to_string(n) + "=" + std::to_string(n);
                     return all;
                   }(),
                   " | log 40=40"},
       .quick = 12});

  // ---------------------------------------------------------------------------------------------------------------- durable
  // Killed at any point of posting, leading and waiting: in memory it is as it would be without the disk.
  constexpr Durability on_disk = Durability::durable;
  auto durable_items = [=](std::uint64_t to) {
    return [=](Stage& s) { s.push(1, to, {.durability = on_disk}); };
  };
  auto warm_tier = [](Stage& s) { s.warm(), s.open_tier(); };
  auto warm_claim = [](Stage& s) { s.open_tier(), s.claim(1); };
  Operation push_durably{
      .name = "push-durable",
      .state = "some",
      .prepare = durable_items(2),
      .prepare_doomed = warm_tier,
      .operate = [=](Stage& s) { return s.work->push(item(101), {.durability = on_disk}).status(); },
      .allowed = {run(1, 2), "1 2 101"},
      .twice = true,
      .quick = 8,
      .posts = true};
  add(push_durably);
  push_durably.state = "beside-posts", push_durably.twice = false, push_durably.quick = 0;
  push_durably.prepare = [](Stage& s) { s.push(1, 2, {.durability = Durability::posted}); };
  add(push_durably);
  push_durably.state = "own-commit", push_durably.operate = [=](Stage& s) {
    return s.work->push(item(101, 5000), {.durability = on_disk}).status();
  };
  add(push_durably);
  push_durably.state = "waiter", push_durably.waiter = true,
  push_durably.prepare = [](Stage& s) { s.open_tier(); };
  push_durably.operate = [=](Stage& s) { return s.work->push(item(101), {.durability = on_disk}).status(); };
  push_durably.allowed = {"", "101"}, add(push_durably);
  add({.name = "append-durable",
       .state = "some",
       .prepare = [=](Stage& s) { s.append(1, 2), s.open_tier(); },
       .prepare_doomed = warm_tier,
       .operate = [=](Stage& s) { return s.audit->append(item(101), {.durability = on_disk}).status(); },
       .allowed = {" | log 1=1 2=2", " | log 1=1 2=2 3=101"},
       .quick = 8,
       .posts = true});
  Operation ack_durably{.name = "ack-durable",
                        .state = "some",
                        .prepare = durable_items(3),
                        .prepare_doomed = warm_claim,
                        .operate = [=](Stage& s) { return s.claims[0].ack({.durability = on_disk}); },
                        .allowed = {"1:2/1 2 3", "2 3"},
                        .twice = true,
                        .quick = 8,
                        .posts = true};
  add(ack_durably);
  ack_durably.state = "of-hot-item", ack_durably.twice = false, ack_durably.quick = 0;
  ack_durably.prepare = [](Stage& s) { s.push(1, 3), s.open_tier(); }, add(ack_durably);
  ack_durably.name = "ack", ack_durably.state = "of-durable-item", ack_durably.quick = 40,
  ack_durably.prepare = durable_items(3);
  ack_durably.operate = [](Stage& s) { return s.claims[0].ack(); }, add(ack_durably);
  add({.name = "nack-delayed",
       .state = "durable",
       .prepare = durable_items(3),
       .prepare_doomed = warm_claim,
       .operate = [](Stage& s) { return s.claims[0].nack({.delay = 1ms}); },
       .allowed = {"1:2/1 2 3", "2 3 1:2/0"},
       .quick = 8,
       .posts = true});
  add({.name = "cancel",
       .state = "durable",
       .prepare = durable_items(3),
       .prepare_doomed = warm_tier,
       .operate = [](Stage& s) { return s.work->cancel(ItemId{2}); },
       .allowed = {run(1, 3), "1 3"},
       .quick = 8,
       .posts = true});
  add({.name = "flush",
       .state = "posted",
       .prepare = [](Stage& s) { s.push(1, 3, {.durability = Durability::posted}); },
       .prepare_doomed = warm_tier,
       .operate = [](Stage& s) { return s.pond->flush(); },
       .allowed = {run(1, 3)},
       .quick = 8,
       .posts = true});

  // ------------------------------------------------------------------------------------------------------------ park, unpark
  // I9, I15, I17 to I19: a name has its stream or its parked words, whoever dies in between.

  auto idle = [](Stage& s) { s.open_tier(), rest(s); };
  auto gc = [](GcOptions how) { return [how](Stage& s) { return s.pond->gc(how).status(); }; };
  auto many_lanes = [](Stage& s) {
    s.push(1, 8), s.push(9, 12, {.priority = 5}), s.push(13, 13, {.priority = 7}), s.claim();
    must(s.claims[0].bury("because"), "bury"), s.claims.clear();
  };
  const std::string in_lanes = "9 10 11 12 " + run(1, 8) + " | dead 13:1/0";
  Operation park{.name = "gc",
                 .state = "queue",
                 .prepare = items(20),
                 .prepare_doomed = idle,
                 .operate = gc({.spill_idle = 1ms}),
                 .allowed = {run(1, 20)},
                 .twice = true,
                 .quick = 12};
  add(park);
  park.twice = false;
  park.state = "lanes", park.prepare = many_lanes, park.allowed = {in_lanes}, add(park);
  park.state = "empty", park.prepare = [](Stage& s) { s.push(1, 8), s.pop(8); }, park.allowed = {""},
  add(park);
  park.state = "spilled",
  park.prepare = [](Stage& s) { s.push(1, 60), must(s.spill(1 << 14), "spill"), s.pop(2); },
  park.allowed = {run(3, 60)}, add(park);
  park.state = "again",
  park.prepare = [=](Stage& s) { s.push(1, 30), park_all(s), s.pop(3), s.push(31, 33); },
  park.allowed = {run(4, 33)}, add(park);
  park.state = "drop", park.prepare = items(20), park.operate = gc({.drop_idle = 1ms}),
  park.allowed = {run(1, 20), ""}, add(park);
  park.state = "drop-parked", park.prepare = [=](Stage& s) { s.push(1, 20), park_all(s); }, add(park);
  Operation wake{.name = "pop",
                 .state = "parked",
                 .prepare = [=](Stage& s) { s.push(1, 20), park_all(s); },
                 .prepare_doomed = [](Stage& s) { s.open_tier(); },
                 .operate = pop_many(1),
                 .allowed = {run(1, 20), "1:2/1 " + run(2, 20), run(2, 20)},
                 .twice = true,
                 .quick = 12};
  add(wake);
  wake.name = "push", wake.operate = push_one({}), wake.allowed = {run(1, 20), run(1, 20) + " 101"},
  wake.twice = false, add(wake);
  wake.name = "clear", wake.allowed = {run(1, 20), ""},
  wake.operate = [](Stage& s) { return s.work->clear().status(); }, add(wake);
  wake.name = "scope-clear", wake.operate = [](Stage& s) { return s.pond->scope("scope").clear().status(); },
  add(wake);
  wake.name = "size", wake.state = "parked-lanes",
  wake.prepare = [=](Stage& s) { many_lanes(s), park_all(s); },
  wake.operate = [](Stage& s) { return s.work->size().status(); }, wake.allowed = {in_lanes}, add(wake);
  std::string logged = " | log";
  for (int n = 1; n <= 40; n++) logged += " " + std::to_string(n) + "=" + std::to_string(n);
  park.state = "log", park.prepare = records(40), park.operate = gc({.spill_idle = 1ms}),
  park.allowed = {logged}, add(park);
  // All in the same transactions, and each by itself.
  park.state = "drop-several", park.prepare = [=](Stage& s) { s.push(1, 20), s.append(1, 40), park_all(s); },
  park.operate = gc({.drop_idle = 1ms}), park.allowed = {run(1, 20) + logged, run(1, 20), logged, ""},
  add(park);
  add({.name = "append",
       .state = "parked",
       .prepare = [=](Stage& s) { s.append(1, 40), park_all(s); },
       .prepare_doomed = [](Stage& s) { s.open_tier(); },
       .operate = [](Stage& s) { return s.audit->append(item(101)).status(); },
       .allowed = {logged, logged + " 41=101"},
       .quick = 12});
  return out;
}

}  // namespace crash
