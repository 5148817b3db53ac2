// A file that is there as a whole or not at all.
#pragma once

#include <optional>
#include <string>

#include "stream_io.h"

namespace headpond::command {

class OutputFile {
 public:
  /// "-": standard output. A new or regular file is written beside its place, mode 0600, and takes it at commit(); a pipe or device is written as it
  /// is. Throws Failure.
  explicit OutputFile(const std::string& path);
  /// Without commit() nothing of it is left.
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  Output& output() { return *output_; }
  bool is_standard_output() const { return descriptor_ == STDOUT_FILENO; }
  /// Everything is written, and on disk if it is a file. Throws ReaderGone or Failure.
  void commit();

 private:
  int descriptor_ = STDOUT_FILENO;
  std::string path_, beside_;  // beside_: where it is written until commit()
  std::optional<Output> output_;
};

}  // namespace headpond::command
