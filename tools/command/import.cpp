// import: lines that export wrote become items and records again, behind what is there.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>

#include "batches.h"
#include "commands.h"
#include "headpond/headpond.h"
#include "importer.h"
#include "session.h"
#include "stop.h"
#include "stream_io.h"

namespace headpond::command {

namespace {

/// The file, or standard input.
class Input {
 public:
  explicit Input(const std::string& path) {
    if (path == "-") return;
    descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor_ < 0) throw Failure{kError, fmt::format("{}: {}", path, std::strerror(errno))};
    name_ = path;
  }
  ~Input() {
    if (descriptor_ != STDIN_FILENO) ::close(descriptor_);
  }
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;
  int descriptor() const { return descriptor_; }
  const std::string& name() const { return name_; }

 private:
  int descriptor_ = STDIN_FILENO;
  std::string name_ = "standard input";
};

/// A value of the largest size, with every byte escaped, and what stands around it.
constexpr std::size_t kMostLineBytes = 6 * kMostValueBytes + (std::size_t{1} << 20);

void show(const Settings& settings, const Importer& importer) {
  const Transferred& all = importer.all();
  if (settings.json) {
    Json figures = all.json();
    figures["durability"] = name(importer.durable() ? Durability::durable : Durability::memory);
    Output output;
    output.add(json_line(figures));
    output.flush();
    return;
  }
  std::string text = fmt::format("{} {}", stop_signal() != 0 ? "stopped: imported" : "imported", all.show());
  if (importer.kept_queues() > 0)
    text += fmt::format("; {} of the queues were there and keep their settings",
                        show_count(importer.kept_queues()));
  if (importer.kept_cursors() > 0)
    text += fmt::format("; {} cursors were there and keep their places", show_count(importer.kept_cursors()));
  say(text);
}

}  // namespace

int import_lines(const Settings& settings, const ImportRequest& request) {
  const Input input(request.file);
  const Pond pond = open_pond(settings, Missing::create);
  Progress progress(settings, "imported", !::isatty(input.descriptor()));
  Importer importer(settings, request, pond, progress, input.name());
  ItemReader reader(input.descriptor(), '\n', kMostLineBytes, input.name());
  std::vector<Bytes> lines;
  while (reader.read(lines)) {
    for (Bytes line : lines) {
      importer.take(line);
      if (stop_signal() != 0) break;
    }
    importer.put();
  }
  if (stop_signal() == 0) importer.finish();
  progress.finish();
  show(settings, importer);
  return kDone;
}

}  // namespace headpond::command
