// What is saved of settings and cursors (src/settings.h), and what takes it away: S1 to S3 and I20, whoever dies in between.
#include <unistd.h>

#include <chrono>

#include "operations.h"

namespace crash {

using namespace headpond;
using namespace std::chrono_literals;

namespace {

constexpr Durability kMemory = Durability::memory, kDurable = Durability::durable;
const QueueOptions kLimits{.lease = 5000ms, .max_attempts = 30, .max_items = 100, .max_bytes = 100'000};
const ScopeOptions kScopeLimits{.max_items = 90, .max_bytes = 90'000, .durability = Durability::posted};
const std::string kScopeSet = " | scope items 90 bytes 90000 posted";
// Its words change one after the other, and who looks meanwhile sees some. Saved is what is there: some, if its author died.
const std::vector<std::string> kConfiguring = {"", " | work lease 5000", " | work lease 5000 attempts 30",
                                               " | work lease 5000 attempts 30 items 100",
                                               " | work lease 5000 attempts 30 items 100 bytes 100000"};

Status on_disk(const Status& answer) {
  if (!answer.ok() || answer.durability() == kDurable) return answer;
  return {Code::system, "in memory alone: " + answer.text()};
}
template <class T>
Status on_disk(const Result<T>& answer) {
  return on_disk(answer.status());
}

/// Of what is set to one thing after the other in memory: on disk is what was there first, or what is in memory. The last: once the operation has returned.
std::vector<std::string> saved(const std::string& items, const std::vector<std::string>& states) {
  std::vector<std::string> out;
  for (const std::string& now : states) {
    if (now != states.front()) out.push_back(items + now + " //" + states.front());
    out.push_back(items + now + " //" + now);
  }
  return out;
}

void warm_tier(Stage& s) { s.warm(), s.open_tier(); }
void items_on_disk(Stage& s) { s.push(1, 2, {.durability = kDurable}); }
Scope scope_of(Stage& s) { return s.pond->scope("scope"); }

/// Changes in a pond that has no durable tier yet, which comes then.
void unsaved(Stage& s) {
  s.push(1, 2), s.append(11, 12);
  must(s.work->pause(), "pause");
  must(s.audit->commit("reader", 1), "commit");
  must(scope_of(s).configure(kScopeLimits), "configure");
  s.open_tier();
}
const std::string kAll = " | work paused" + kScopeSet + " | cursor 1";

}  // namespace

std::vector<Operation> settings_operations() {
  std::vector<Operation> out;
  auto add = [&](Operation op) {
    op.options = tiny_pond(), op.posts = true, op.saves = true;
    if (!op.prepare_doomed) op.prepare_doomed = warm_tier;
    if (op.quick == 40) op.quick = 0;  // but for two, left to `all`: tracing a commit takes some seconds
    out.push_back(std::move(op));
  };
  auto pause = [](Stage& s) { return on_disk(s.work->pause()); };
  auto resume = [](Stage& s) { return on_disk(s.work->resume()); };
  auto configure = [](Stage& s) { return on_disk(s.work->configure(kLimits)); };
  auto configure_scope = [](Stage& s) { return on_disk(scope_of(s).configure(kScopeLimits)); };
  auto commit = [](Stage& s) { return on_disk(s.audit->commit("reader", 2, kDurable)); };
  auto flush = [](Stage& s) { return on_disk(s.pond->flush()); };
  auto gc = [](GcOptions how) { return [how](Stage& s) { return s.pond->gc(how).status(); }; };

  // ---------------------------------------------------------------------------------------------------------------- queues
  add({.name = "pause",
       .state = "some",
       .prepare = items_on_disk,
       .operate = pause,
       .allowed = saved("1 2", {"", " | work paused"}),
       .twice = true});
  add({.name = "pause",
       .state = "cold",
       .prepare = [](Stage& s) { s.open_tier(); },
       .prepare_doomed = [](Stage&) {},
       .operate = pause,
       .allowed = saved("", {"", " | work paused"})});
  // Its row goes.
  add({.name = "resume",
       .state = "paused",
       .prepare = [](Stage& s) { items_on_disk(s), must(s.work->pause(), "pause"); },
       .operate = resume,
       .allowed = saved("1 2", {" | work paused", ""})});
  add({.name = "configure",
       .state = "some",
       .prepare = items_on_disk,
       .operate = configure,
       .allowed = saved("1 2", kConfiguring)});
  auto parked = [](Stage& s) { s.push(1, 2), park_all(s); };
  auto only_tier = [](Stage& s) { s.open_tier(); };
  add({.name = "configure",
       .state = "parked",
       .prepare = parked,
       .prepare_doomed = only_tier,
       .operate = configure,
       .allowed = saved("1 2", kConfiguring),
       .quick = 6});
  add({.name = "pause",
       .state = "parked",
       .prepare = parked,
       .prepare_doomed = only_tier,
       .operate = pause,
       .allowed = saved("1 2", {"", " | work paused"}),
       .twice = true});

  // ---------------------------------------------------------------------------------------------------------------- scopes
  add({.name = "configure-scope",
       .state = "some",
       .prepare = items_on_disk,
       .operate = configure_scope,
       .allowed = saved("1 2", {"", kScopeSet}),
       .twice = true});
  add({.name = "configure-scope",
       .state = "empty",
       .prepare = only_tier,
       .operate = configure_scope,
       .allowed = saved("", {"", kScopeSet})});
  add({.name = "configure-scope",
       .state = "parked",
       .prepare = parked,
       .prepare_doomed = only_tier,
       .operate = configure_scope,
       .allowed = saved("1 2", {"", kScopeSet})});
  add({.name = "configure-scope",
       .state = "undone",
       .prepare = [=](Stage& s) { items_on_disk(s), must(configure_scope(s), "configure"); },
       .operate = [](Stage& s) { return on_disk(scope_of(s).configure({})); },
       .allowed = saved("1 2", {kScopeSet, ""})});

  // ---------------------------------------------------------------------------------------------------------------- cursors
  const std::string two = " | log 1=11 2=12";
  add({.name = "commit-durable",
       .state = "new-cursor",
       .prepare = [](Stage& s) { s.append(11, 12), s.open_tier(); },
       .operate = commit,
       .allowed = saved(two, {"", " | cursor 2"}),
       .twice = true});
  add({.name = "commit-durable",
       .state = "again",
       .prepare = [](Stage& s) { s.append(11, 12), must(s.audit->commit("reader", 1, kDurable), "commit"); },
       .operate = commit,
       .allowed = saved(two, {" | cursor 1", " | cursor 2"})});
  // Another has committed it further, in memory alone: with this commit that is saved.
  add({.name = "commit-durable",
       .state = "ahead-in-memory",
       .prepare =
           [](Stage& s) {
             s.append(11, 14), must(s.audit->commit("reader", 1, kDurable), "commit");
             must(s.audit->commit("reader", 4, kMemory), "commit");
           },
       .operate = commit,
       .allowed = {" | log 1=11 2=12 3=13 4=14 | cursor 4 // | cursor 1",
                   " | log 1=11 2=12 3=13 4=14 | cursor 4 // | cursor 4"}});
  add({.name = "drop-cursor",
       .state = "saved",
       .prepare = [](Stage& s) { s.append(11, 12), must(s.audit->commit("reader", 1, kDurable), "commit"); },
       .operate = [](Stage& s) { return s.audit->drop_cursor("reader"); },
       .allowed = {two + " | cursor 1 // | cursor 1", two + " | cursor 1 //", two + " //"},
       .twice = true,
       .quick = 6});

  // ---------------------------------------------------------------------------------------------------------- what is unsaved
  // All in one transaction.
  add({.name = "flush",
       .state = "unsaved",
       .prepare = unsaved,
       .operate = flush,
       .allowed = {"1 2" + two + kAll + " //", "1 2" + two + kAll + " //" + kAll},
       .twice = true});
  // The first durable operation in a pond that has a tier takes along what was changed before.
  add({.name = "push-durable",
       .state = "unsaved",
       .prepare = unsaved,
       .operate = [](Stage& s) { return s.other->push(item(101), {.durability = kDurable}).status(); },
       .allowed = {"1 2" + two + kAll + " //", "1 2 | other 101" + two + kAll + " //",
                   "1 2 | other 101" + two + kAll + " //" + kAll}});
  add({.name = "gc",
       .state = "unsaved",
       .prepare = unsaved,
       .prepare_doomed = [](Stage& s) { s.open_tier(), rest(s); },
       .operate = gc({.spill_idle = 1ms}),
       .allowed = {"1 2" + two + kAll + " //", "1 2" + two + kAll + " //" + kAll}});

  // ------------------------------------------------------------------------------------------------------- names that go, or stay
  add({.name = "clear",
       .state = "saved",
       .prepare = [=](Stage& s) { items_on_disk(s), must(pause(s), "pause"); },
       .operate = [](Stage& s) { return s.work->clear().status(); },
       .allowed = {"1 2 | work paused // | work paused", " | work paused // | work paused"}});
  auto all_kinds = [=](Stage& s) {
    items_on_disk(s), must(pause(s), "pause"), s.append(11, 12);
    must(s.audit->commit("reader", 1, kDurable), "commit");
  };
  add({.name = "scope-clear",
       .state = "saved",
       .prepare = all_kinds,
       .operate = [](Stage& s) { return scope_of(s).clear().status(); },
       .allowed = {"1 2" + two + " | work paused | cursor 1 // | work paused | cursor 1",
                   "1 2" + two + " | work paused | cursor 1 // | work paused",
                   "1 2" + two + " | work paused // | work paused", "1 2 | work paused // | work paused",
                   // who goes on with it keeps the name
                   " | work paused // | work paused", " | work paused //", " //"},
       .twice = true});
  auto dropped = [](const std::string& items) {
    return std::vector<std::string>{items + " | work paused // | work paused",
                                    " | work paused // | work paused", " | work paused //", " //"};
  };
  add({.name = "gc",
       .state = "drop-saved",
       .prepare = [=](Stage& s) { items_on_disk(s), must(pause(s), "pause"); },
       .prepare_doomed = [](Stage& s) { s.open_tier(), rest(s); },
       .operate = gc({.drop_idle = 1ms}),
       .allowed = dropped("1 2")});
  add({.name = "gc",
       .state = "drop-parked-saved",
       .prepare = [=](Stage& s) { items_on_disk(s), must(pause(s), "pause"), park_all(s); },
       .prepare_doomed = [](Stage& s) { s.open_tier(), rest(s); },
       .operate = gc({.drop_idle = 1ms}),
       .allowed = dropped("1 2"),
       .twice = true});
  // Cursors whose log is not there any more.
  add({.name = "gc",
       .state = "drop-parked-log",
       .prepare =
           [](Stage& s) {
             s.append(11, 12), must(s.audit->commit("reader", 1, kDurable), "commit");
             park_all(s);
           },
       .prepare_doomed = [](Stage& s) { s.open_tier(), rest(s); },
       .operate = gc({.drop_idle = 1ms}),
       .allowed = {two + " | cursor 1 // | cursor 1", " | cursor 1 // | cursor 1", " | cursor 1 //", " //"}});
  return out;
}

}  // namespace crash
