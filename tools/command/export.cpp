// export: queues and logs as lines, item by item, whatever their size.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <tuple>

#include "commands.h"
#include "headpond/headpond.h"
#include "output_file.h"
#include "progress.h"
#include "session.h"
#include "stop.h"
#include "transfer.h"

namespace headpond::command {

namespace {

class Exporter {
 public:
  Exporter(const Settings& settings, OutputFile& file)
      : file_(file),
        output_(file.output()),
        progress_(settings, "exported", !file.is_standard_output() || !::isatty(STDOUT_FILENO)) {}

  /// Ends early after a signal, without the last line.
  void run(const Pond& pond, const std::vector<std::string>& scopes) {
    add(header_line(pond.name(), scopes.size(), scopes.size() == 1 ? &scopes.front() : nullptr));
    for (const std::string& name : scopes) {
      const Scope scope = pond.scope(name);
      const ScopeOptions limits = need(scope.options());
      if (limits.max_items != 0 || limits.max_bytes != 0 || limits.durability != Durability::memory)
        add(scope_line(name, limits));
      for (const StreamName& stream : need(scope.streams())) {
        if (stopped()) return;
        if (stream.kind == StreamName::Kind::queue)
          export_queue(name, stream.name, scope.queue(stream.name));
        else
          export_log(name, stream, scope.log(stream.name, stream.key));
      }
    }
    if (stopped()) return;
    add(end_line(all_));
    file_.commit();
    progress_.finish();
  }

  const Transferred& all() const { return all_; }

 private:
  static bool stopped() { return stop_signal() != 0; }
  void add(const Json& line) { output_.add(json_line(line)); }

  void export_queue(const std::string& scope, const std::string& name, const Queue& queue) {
    add(queue_line(scope, name, need(queue.options()), need(queue.stats())));
    ++all_.queues;
    // What writing throws may not pass through the library.
    std::exception_ptr thrown;
    const Status walked = queue.for_each_item([&](const WaitingItem& item) {
      try {
        add(item_line(item));
        all_.count(item);
        progress_.show(all_.all(), all_.bytes);
        return !stopped();
      } catch (...) {
        thrown = std::current_exception();
        return false;
      }
    });
    if (thrown) std::rethrow_exception(thrown);
    if (!walked) throw failure(walked, "queue " + show_name(name));
  }

  void export_log(const std::string& scope, const StreamName& name, const Log& log) {
    add(log_line(scope, name.name, name.key));
    ++all_.logs;
    auto cursors = need(log.cursors());
    std::sort(cursors.begin(), cursors.end(), [](const CursorPlace& a, const CursorPlace& b) {
      return std::tie(a.seq, a.name) < std::tie(b.seq, b.name);
    });
    std::size_t next = 0;
    const auto add_cursors = [&](std::uint64_t up_to) {
      for (; next < cursors.size() && cursors[next].seq <= up_to; ++next, ++all_.cursors)
        add(cursor_line(cursors[next]));
    };
    Scan records = log.scan();
    for (const Record& record : records) {
      add_cursors(record.seq - 1);
      add(record_line(record));
      ++all_.records;
      all_.bytes += record.payload.size();
      progress_.show(all_.all(), all_.bytes);
      if (stopped()) return;
    }
    if (!records.status())
      throw failure(records.status(), fmt::format("log {} {}", show_name(name.name), show_name(name.key)));
    add_cursors(UINT64_MAX);
  }

  OutputFile& file_;
  Output& output_;
  Progress progress_;
  Transferred all_;
};

}  // namespace

int export_lines(const Settings& settings, const ExportRequest& request) {
  if (request.all && settings.scope_given) throw Failure{kUsage, "--all and --scope exclude each other"};
  const Pond pond = open_pond(settings, Missing::fail);
  std::vector<std::string> scopes = need(pond.scopes());
  const auto others = static_cast<std::uint64_t>(std::count_if(
      scopes.begin(), scopes.end(), [&](const std::string& name) { return name != settings.scope; }));
  if (!request.all) {
    if (others == scopes.size())
      throw Failure{kNothing, fmt::format("pond {} has nothing in scope {}, and {} other scopes",
                                          settings.pond, show_name(settings.scope), show_count(others))};
    scopes = {settings.scope};
  }
  OutputFile file(request.file);
  Exporter exporter(settings, file);
  exporter.run(pond, scopes);
  std::string text = fmt::format(
      "{}{}", stop_signal() != 0 ? "stopped, the file is not whole: " : "exported ", exporter.all().show());
  if (exporter.all().claimed > 0) text += "; what is claimed is ready again where it is imported";
  if (!request.all && !settings.scope_given && others > 0)
    text += fmt::format("; {} not in it: --all",
                        others == 1 ? "1 other scope is" : show_count(others) + " other scopes are");
  say(text);
  return kDone;
}

}  // namespace headpond::command
