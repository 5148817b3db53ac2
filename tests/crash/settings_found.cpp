#include "settings_found.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>

#include "src/attachment.h"
#include "src/directory.h"

namespace crash {

using namespace headpond;

namespace {

std::string number(const char* what, std::uint64_t value) {
  return value ? std::string(" ") + what + " " + std::to_string(value) : std::string();
}

std::string limits(const QueueOptions& now, const QueueOptions& otherwise) {
  std::string out;
  if (now.lease != otherwise.lease) out += number("lease", static_cast<std::uint64_t>(now.lease.count()));
  if (now.max_attempts != otherwise.max_attempts) out += number("attempts", now.max_attempts);
  if (now.max_items != otherwise.max_items) out += number("items", now.max_items);
  if (now.max_bytes != otherwise.max_bytes) out += number("bytes", now.max_bytes);
  return out;
}

std::string limits(const ScopeOptions& now) {
  std::string out = number("items", now.max_items) + number("bytes", now.max_bytes);
  if (now.durability == Durability::posted) out += " posted";
  if (now.durability == Durability::durable) out += " durable";
  return out;
}

/// What options() shows is in force: the flags without which nobody looks at the words.
void check_in_force(Stage& stage, const std::string& queue, const QueueOptions& shown) {
  auto attachment = must(internal::Attachment::open(stage.name, {}, false), "open");
  auto stream =
      must(internal::Directory(*attachment->thread()).find({internal::Kind::queue, "scope", queue, {}, {}}),
           "find");
  std::uint32_t flags = attachment->segment().stream(stream.index()).policy.load();
  std::uint32_t needed = (shown.lease.count() ? internal::kLeased : 0u) |
                         (shown.max_attempts ? internal::kAttemptsLimited : 0u) |
                         (shown.max_items || shown.max_bytes ? internal::kLimited : 0u);
  if (needed & ~flags)
    throw std::runtime_error("queue " + queue + " shows" + limits(shown, {}) +
                             ", and not all of it is in force");
}

/// A copy of what is on disk, as another pond has it.
class Copy {
 public:
  explicit Copy(const std::string& pond) : name_(pond + "-again") {
    const std::filesystem::path home = std::getenv("HEADPOND_HOME"), to = home / name_;
    (void)Pond::remove(name_);
    std::filesystem::create_directory(to);
    std::filesystem::permissions(to, std::filesystem::perms::owner_all);
    // Not the memory that the processes share about a file: it is made again.
    for (const char* file : {"journal.db", "journal.db-wal", "spill.db", "spill.db-wal"})
      if (std::filesystem::exists(home / pond / file))
        std::filesystem::copy_file(home / pond / file, to / file);
  }
  ~Copy() { (void)Pond::remove(name_); }
  Copy(const Copy&) = delete;
  Copy& operator=(const Copy&) = delete;
  const std::string& name() const { return name_; }

 private:
  std::string name_;
};

struct Answer {
  enum class Kind { found, slow, problem } kind;
  char text[4088];
};

void tell(Answer& to, Answer::Kind kind, const std::string& text) {
  to.kind = kind;
  std::snprintf(to.text, sizeof to.text, "%s", text.c_str());
}

std::string found_in_copy(const std::string& pond, const Options& options) {
  Copy copy(pond);
  Stage again{.name = copy.name()};
  again.open(options, true);
  std::string found = settings_found(again, options);
  for (const std::string& problem : must(again.pond->verify(), "verify").problems)
    throw std::runtime_error(problem);
  again.close();
  return found;
}

}  // namespace

std::string settings_found(Stage& stage, const Options& pond) {
  std::string out;
  Scope scope = stage.pond->scope("scope");
  for (const StreamName& stream : must(scope.streams(), "streams")) {
    if (stream.kind != StreamName::Kind::queue) continue;
    Queue queue = scope.queue(stream.name);
    QueueStats stats = must(queue.stats(), "stats");
    QueueOptions options = must(queue.options(), "options");
    check_in_force(stage, stream.name, options);
    std::string set = (stats.paused ? std::string(" paused") : "") + (stats.draining ? " draining" : "") +
                      limits(options, internal::Fixed{}.with(pond).queue);
    if (!set.empty()) out += " | " + stream.name + set;
  }
  if (std::string set = limits(must(scope.options(), "options")); !set.empty()) out += " | scope" + set;
  if (auto place = must(stage.audit->committed("reader"), "committed"))
    out += " | cursor " + std::to_string(place);
  return out;
}

// In another process: who has a file open for SQLite must not open and close it besides, since that would end its locks.
std::string after_reboot(const std::string& pond, const Options& options) {
  static Answer* answer = static_cast<Answer*>(
      ::mmap(nullptr, sizeof(Answer), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  tell(*answer, Answer::Kind::problem, "ended before it could tell");
  pid_t parent = ::getpid(), reader = ::fork();
  if (reader == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(98);
    try {
      tell(*answer, Answer::Kind::found, found_in_copy(pond, options));
    } catch (const Slow& e) {
      tell(*answer, Answer::Kind::slow, e.what());
    } catch (const std::exception& e) {
      tell(*answer, Answer::Kind::problem, e.what());
    }
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(reader, &status, 0);
  if (status) (void)Pond::remove(pond + "-again");
  const std::string text = "the pond that is made from what is on disk: " + std::string(answer->text);
  if (answer->kind == Answer::Kind::slow) throw Slow(text);
  if (status || answer->kind == Answer::Kind::problem) throw std::runtime_error(text);
  return answer->text;
}

void nothing_is_unsaved(Stage& stage) {
  auto attachment = must(internal::Attachment::open(stage.name, {}, false), "open");
  for (const internal::Key& key :
       must(internal::Directory(*attachment->thread()).unsaved(), "the list of what is unsaved"))
    throw std::runtime_error("\"" + key.name + "\" of scope \"" + key.scope + "\" is unsaved after a flush");
}

}  // namespace crash
