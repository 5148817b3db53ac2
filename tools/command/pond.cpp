// The commands about a pond as a whole.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "commands.h"
#include "headpond/headpond.h"
#include "session.h"
#include "stream_io.h"
#include "text.h"

namespace headpond::command {

namespace {

std::optional<std::uint32_t> narrow(const std::optional<std::uint64_t>& value) {
  // What does not fit is out of range for the library, too.
  if (!value) return {};
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(*value, UINT32_MAX));
}

std::int64_t wall_ms() {
  using std::chrono::system_clock;
  return std::chrono::floor<milliseconds>(system_clock::now().time_since_epoch()).count();
}

}  // namespace

int create(const Settings& settings, const CreateRequest& request) {
  Options options = process_options(settings);
  options.limit_bytes = request.limit_bytes;
  options.max_participants = narrow(request.max_participants);
  options.min_page_bytes = narrow(request.min_page_bytes);
  options.max_page_bytes = narrow(request.max_page_bytes);
  const QueueLimits& limits = request.limits;
  options.queue = {.lease = limits.lease,
                   .max_attempts = narrow(limits.max_attempts),
                   .max_items = limits.max_items,
                   .max_bytes = limits.max_bytes};
  const std::int64_t began_ms = wall_ms();
  // With the same options: if the segment is gone and the folder is not, this is what makes the pond anew.
  auto there = Pond::open_existing(settings.pond, options);
  const bool existed = there.code() != Code::not_found;
  const Pond pond = existed ? need(std::move(there)) : need(Pond::open(settings.pond, options));
  const Stats stats = need(pond.stats());
  const bool rebuilt = existed && stats.recovered.at_ms >= began_ms;
  Output output;
  if (settings.json) {
    output.add(json_line({{"pond", settings.pond},
                          {"created", !existed},
                          {"rebuilt", rebuilt},
                          {"limit_bytes", stats.limit_bytes},
                          {"max_participants", stats.max_participants}}));
  } else if (settings.verbose) {
    output.add(fmt::format("{} {}, {}\n",
                           rebuilt   ? "rebuilt"
                           : existed ? "exists:"
                                     : "created",
                           settings.pond, show_bytes(stats.limit_bytes)));
  }
  output.flush();
  return kDone;
}

int verify(const Settings& settings, const NoRequest&) {
  const Pond pond = open_pond(settings, Missing::fail);
  const Findings findings = need(pond.verify());
  Output output;
  if (settings.json) {
    output.add(json_line({{"clean", findings.clean()},
                          {"problems", findings.problems},
                          {"pages", findings.pages},
                          {"streams", findings.streams},
                          {"records", findings.records},
                          {"rows", findings.rows}}));
  } else {
    for (const std::string& problem : findings.problems) output.add(problem + "\n");
    output.add(
        fmt::format("{} pages, {} streams, {} records, {} rows on disk: {}\n", show_count(findings.pages),
                    show_count(findings.streams), show_count(findings.records), show_count(findings.rows),
                    findings.clean() ? "all well" : fmt::format("{} problems", findings.problems.size())));
  }
  output.flush();
  return findings.clean() ? kDone : kError;
}

int reap(const Settings& settings, const NoRequest&) {
  const Pond pond = open_pond(settings, Missing::fail);
  const std::uint32_t count = need(pond.reap());
  Output output;
  output.add(settings.json ? json_line({{"reaped", count}}) : fmt::format("{}\n", count));
  output.flush();
  return kDone;
}

int gc(const Settings& settings, const GcRequest& request) {
  const GcOptions& limits = request.limits;
  if (limits.spill_idle.count() == 0 && limits.drop_idle.count() == 0)
    throw Failure{kUsage, "gc needs --spill-idle, --drop-idle or both"};
  const Pond pond = open_pond(settings, Missing::fail);
  const GcResult done = need(pond.gc(request.limits));
  Output output;
  if (settings.json)
    output.add(json_line({{"parked", done.parked},
                          {"parked_items", done.parked_items},
                          {"freed_bytes", done.freed_bytes},
                          {"dropped", done.dropped},
                          {"dropped_items", done.dropped_items},
                          {"busy", done.busy}}));
  else
    output.add(fmt::format("{} parked, {} dropped with {} items, {} in use\n", show_count(done.parked),
                           show_count(done.dropped), show_count(done.dropped_items), show_count(done.busy)));
  output.flush();
  return kDone;
}

int flush(const Settings& settings, const NoRequest&) {
  const Pond pond = open_pond(settings, Missing::fail);
  const Status status = pond.flush();
  need(status);
  if (settings.json) {
    Output output;
    output.add(json_line({{"durability", std::string(name(status.durability()))}}));
    output.flush();
  }
  return kDone;
}

int rm(const Settings& settings, const RemoveRequest& request) {
  need(Pond::remove(settings.pond, {.keep_state = request.keep_state, .state_home = {}}));
  if (settings.json) {
    Output output;
    output.add(json_line({{"removed", settings.pond}}));
    output.flush();
  }
  return kDone;
}

}  // namespace headpond::command
