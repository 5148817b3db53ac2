// The commands about one queue, but pop.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>

#include "commands.h"
#include "feed.h"
#include "headpond/headpond.h"
#include "session.h"
#include "stop.h"
#include "stream_io.h"
#include "text.h"

namespace headpond::command {

namespace {

Queue open_queue(const Pond& pond, const Settings& settings, const std::string& name) {
  return pond.scope(settings.scope).queue(name);
}

Json json_item(const Item& item) {
  return {{"id", std::to_string(item.id.value)},
          {"priority", item.priority},
          {"attempts", item.attempts},
          {"crashes", item.crashes},
          {"payload", json_bytes(item.payload)}};
}

std::string show_moment(std::chrono::system_clock::time_point moment) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(moment)));
}

std::string_view show_cause(Cause cause) { return cause == Cause::buried ? "buried" : "max_attempts"; }

Json json_dead(const DeadItem& item) {
  Json json = json_item(item);
  json["cause"] = show_cause(item.cause);
  json["reason"] = json_bytes(item.reason);
  json["pid"] = item.pid;
  json["signal"] = item.signal;
  json["at"] = show_moment(item.at);
  return json;
}

/// A figure: itself on a line, or an object with its name.
void print_figure(const Settings& settings, const char* name, std::uint64_t figure) {
  Output output;
  output.add(settings.json ? json_line({{name, figure}}) : std::to_string(figure) + "\n");
  output.flush();
}

}  // namespace

void QueueLimits::apply(QueueOptions& options) const {
  if (lease) options.lease = *lease;
  if (max_attempts) options.max_attempts = static_cast<std::uint32_t>(*max_attempts);
  if (max_items) options.max_items = *max_items;
  if (max_bytes) options.max_bytes = *max_bytes;
}

int push(const Settings& settings, const PushRequest& request) {
  const Pond pond = open_pond(settings, Missing::create);
  Queue queue = open_queue(pond, settings, request.queue);
  const FeedTarget target{
      .sink = [&](std::span<const Bytes> batch, milliseconds wait) -> Result<std::uint64_t> {
        const auto first = queue.push_many(
            batch, {.delay = request.delay,
                    .priority = request.priority,
                    .full_timeout = wait,
                    .durability = request.durable ? std::optional(Durability::durable) : std::nullopt});
        if (!first) return first.status();
        return {first->value, first.status()};
      },
      .what = "queue " + show_name(request.queue),
      .verb = "pushed",
      .first_name = "first_id",
      .last_name = "last_id",
      .id_name = "id",
      .limit_bytes = need(pond.stats()).limit_bytes,
  };
  return feed(settings, request, target);
}

int peek(const Settings& settings, const PeekRequest& request) {
  const Pond pond = open_pond(settings, Missing::fail);
  const auto items = need(open_queue(pond, settings, request.queue).peek(request.most));
  Output output;
  for (const Item& item : items) {
    if (settings.json) {
      output.add(json_line(json_item(item)));
    } else {
      if (request.details)
        output.add(
            fmt::format("{}\t{}\t{}\t{}\t", item.id.value, item.priority, item.attempts, item.crashes));
      output.add(item.payload);
      output.add(request.separator);
    }
  }
  output.flush();
  return items.empty() ? kNothing : kDone;
}

int dead(const Settings& settings, const DeadRequest& request) {
  const Pond pond = open_pond(settings, Missing::fail);
  Queue queue = open_queue(pond, settings, request.queue);
  if (request.redrive) {
    const std::uint64_t count = need(queue.redrive(request.most));
    print_figure(settings, "redriven", count);
    return count > 0 ? kDone : kNothing;
  }
  const auto items = need(queue.dead(request.most));
  Output output;
  for (const DeadItem& item : items) {
    if (settings.json) {
      output.add(json_line(json_dead(item)));
    } else {
      output.add(fmt::format("{}\t{}\tattempts={}\tcrashes={}\tpid={}\tsignal={}\t{}\t{}\t{}\n",
                             item.id.value, show_moment(item.at), item.attempts, item.crashes, item.pid,
                             item.signal, show_cause(item.cause), show_value(item.reason),
                             show_value(item.payload)));
    }
  }
  output.flush();
  return items.empty() ? kNothing : kDone;
}

int cancel(const Settings& settings, const CancelRequest& request) {
  const Pond pond = open_pond(settings, Missing::fail);
  const Status status = open_queue(pond, settings, request.queue).cancel(ItemId{request.id});
  if (status == Code::not_found)
    throw Failure{kNothing,
                  fmt::format("queue {}: there is no item {}", show_name(request.queue), request.id)};
  if (status == Code::busy)
    throw Failure{
        kError, fmt::format("queue {}: a worker has item {} just now", show_name(request.queue), request.id)};
  need(status);
  if (settings.json) print_figure(settings, "cancelled", 1);
  return kDone;
}

int pause(const Settings& settings, const QueueRequest& request) {
  const Pond pond = open_pond(settings, Missing::create);  // also before its first item
  const Status paused = open_queue(pond, settings, request.queue).pause();
  if (settings.json && paused) print_figure(settings, "paused", 1);
  need_saved(paused, fmt::format("queue {}: paused", show_name(request.queue)));
  return kDone;
}

int resume(const Settings& settings, const QueueRequest& request) {
  const Pond pond = open_pond(settings, Missing::fail);
  const Status resumed = open_queue(pond, settings, request.queue).resume();
  if (settings.json && resumed) print_figure(settings, "resumed", 1);
  need_saved(resumed, fmt::format("queue {}: resumed", show_name(request.queue)));
  return kDone;
}

int drain(const Settings& settings, const DrainRequest& request) {
  const Pond pond = open_pond(settings, Missing::fail);
  Queue queue = open_queue(pond, settings, request.queue);
  const auto begin = std::chrono::steady_clock::now();
  Status status = Code::timeout;
  while (stop_signal() == 0) {
    const auto waited = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begin);
    const milliseconds left =
        request.wait == kForever ? milliseconds(100) : std::max(milliseconds(0), request.wait - waited);
    status = queue.drain(std::min(left, milliseconds(100)));
    if (!(status == Code::timeout) || left == milliseconds(0)) break;
  }
  const auto stats = queue.stats();
  const std::uint64_t left = stats ? stats->ready + stats->claimed + stats->delayed : 0;
  if (settings.json) print_figure(settings, "left", left);
  if (status == Code::timeout && stop_signal() == 0)
    throw Failure{kNothing,
                  fmt::format("queue {}: {} items are left; {}", show_name(request.queue), show_count(left),
                              status.cause() == Code::ok ? "it takes no more" : status.text())};
  if (stop_signal() == 0) need_saved(status, fmt::format("queue {}: drained", show_name(request.queue)));
  return kDone;
}

int configure(const Settings& settings, const ConfigureRequest& request) {
  const QueueLimits& limits = request.limits;
  const Pond pond = open_pond(settings, limits.any() ? Missing::create : Missing::fail);
  Queue queue = open_queue(pond, settings, request.queue);
  QueueOptions options = need(queue.options());
  Status configured;
  if (limits.any()) {
    limits.apply(options);
    configured = queue.configure(options);
    need(configured);
  }
  const Json json = {{"lease_ms", options.lease.count()},
                     {"max_attempts", options.max_attempts},
                     {"max_items", options.max_items},
                     {"max_bytes", options.max_bytes}};
  Output output;
  if (settings.json) {
    output.add(json_line(json));
  } else if (!limits.any()) {
    const auto limit = [](std::uint64_t value, const std::string& text) {
      return value == 0 ? "none" : text;
    };
    output.add(fmt::format("lease         {}\n", limit(options.lease.count(), show_time(options.lease))));
    output.add(
        fmt::format("max attempts  {}\n", limit(options.max_attempts, show_count(options.max_attempts))));
    output.add(fmt::format("max items     {}\n", limit(options.max_items, show_count(options.max_items))));
    output.add(fmt::format("max bytes     {}\n", limit(options.max_bytes, show_bytes(options.max_bytes))));
  }
  output.flush();
  need_saved(configured, fmt::format("queue {}: configured", show_name(request.queue)));
  return kDone;
}

int clear(const Settings& settings, const ClearRequest& request) {
  const Pond pond = open_pond(settings, Missing::fail);
  const std::uint64_t count = request.queue ? need(open_queue(pond, settings, *request.queue).clear())
                                            : need(pond.scope(settings.scope).clear());
  print_figure(settings, "cleared", count);
  return kDone;
}

}  // namespace headpond::command
