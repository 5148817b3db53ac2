// A program outside the project: it sees what is installed and nothing else.
//
//   consumer POND VERSION    exit status 0 if the library is that version and its calls are there
#include <headpond/headpond.h>
#include <headpond/version.h>

#include <cstdio>
#include <cstring>
#include <string>

namespace {

int failed(const char* what, const std::string& why) {
  std::fprintf(stderr, "consumer: %s: %s\n", what, why.c_str());
  return 1;
}

int use(const std::string& name) {
  auto pond = headpond::Pond::open(name, {.limit_bytes = 8 << 20});
  if (!pond) return failed("open", pond.status().text());

  headpond::Scope scope = pond->scope("s");
  headpond::Queue queue = scope.queue("q");
  if (auto id = queue.push("x"); !id) return failed("push", id.status().text());
  auto value = queue.pop();
  if (!value) return failed("pop", value.status().text());
  if (*value != "x") return failed("pop", "gave " + *value);
  if (auto none = queue.pop(); none || none.code() != headpond::Code::empty)
    return failed("pop", "gave an item twice");

  headpond::Log log = scope.log("l");
  if (auto seq = log.append("line"); !seq) return failed("append", seq.status().text());
  int lines = 0;
  for (const headpond::Record& record : log.scan()) lines += record.payload == "line";
  if (lines != 1) return failed("scan", "gave " + std::to_string(lines) + " records, not 1");

  auto stats = pond->stats();
  if (!stats) return failed("stats", stats.status().text());
  if (stats->json().empty()) return failed("stats", "gave no JSON");
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) return failed("usage", "consumer POND VERSION");
  if (std::strcmp(headpond::version(), arguments[2]) != 0) return failed("version", headpond::version());
  if (std::strcmp(HEADPOND_VERSION, arguments[2]) != 0)
    return failed("version of the headers", HEADPOND_VERSION);

  const int result = use(arguments[1]);
  if (headpond::Status status = headpond::Pond::remove(arguments[1]); !status && result == 0)
    return failed("remove", status.text());
  return result;
}
