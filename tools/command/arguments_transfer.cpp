#include "arguments.h"

namespace headpond::command {

void add_transfer_commands(Parser& parser) {
  {
    const auto [command, request] =
        parser.add("export", export_lines, "Write the queues and logs of the scope to a file of JSON lines",
                   "headpond export --all | gzip >pond.jsonl.gz");
    add_name(command, "FILE", request->file, "the file (-: standard output)")->required(false);
    command->add_flag("--all", request->all, "every scope, not just the one of --scope");
  }
  {
    const auto [command, request] =
        parser.add("import", import_lines, "Put back what export wrote, behind what there is",
                   "zcat pond.jsonl.gz | headpond --pond another import");
    add_name(command, "FILE", request->file, "the file (-: standard input)")->required(false);
    command->add_flag("--fresh", request->fresh, "only if there is no item and no record yet");
    command->add_flag("--durable", request->durable, "end only when SQLite has them: they survive the host");
  }
}

}  // namespace headpond::command
