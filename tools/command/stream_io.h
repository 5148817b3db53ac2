// Input as items, output that knows how much of it was really written.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <string>
#include <vector>

#include "headpond/options.h"

namespace headpond::command {

/// Thrown when whoever read our output has gone: the command ends as SIGPIPE would end it, without a word.
struct ReaderGone {};

/// What came of a write: all of it, or the bytes until it was stopped (error EINTR) or failed.
struct Written {
  std::size_t bytes = 0;
  int error = 0;
};

/// Writes everything to standard output, or another descriptor. Sleeps while the reader is slow; a signal ends that.
Written write_out(Bytes bytes, int descriptor = STDOUT_FILENO);

/// Answers whether standard output is a pipe or socket without a reader: to be asked now and then by who waits and writes nothing.
bool reader_gone();

/// The Failure, ReaderGone or nothing (stopped) that an unfinished write stands for.
void throw_if_failed(const Written& written, const std::string& name = "standard output");

/// Output that is collected and written in large pieces.
class Output {
 public:
  explicit Output(int descriptor = STDOUT_FILENO, std::string name = "standard output")
      : descriptor_(descriptor), name_(std::move(name)) {}
  void add(Bytes bytes);
  void add(char c) { buffer_ += c; }
  /// Throws ReaderGone or Failure if it cannot be written.
  void flush();

 private:
  const int descriptor_;
  const std::string name_;  // for messages
  std::string buffer_;
};

constexpr std::size_t kMostItemBytes = std::size_t{1} << 30;  // the library's limit

/// Splits what a descriptor gives at a separator. What stands after the last one is an item, too, unless it is empty.
class ItemReader {
 public:
  /// A longer item than `most_bytes` is an error; `name` stands in messages.
  ItemReader(int descriptor, char separator, std::size_t most_bytes = kMostItemBytes,
             std::string name = "standard input")
      : descriptor_(descriptor), separator_(separator), most_bytes_(most_bytes), name_(std::move(name)) {}
  /// Reads what there is, waiting for something if there is nothing, and gives the items that are complete: perhaps none yet. False at the
  /// end of the input, and after a signal. The items are valid until the next call.
  bool read(std::vector<Bytes>& items);

 private:
  const int descriptor_;
  const char separator_;
  const std::size_t most_bytes_;
  const std::string name_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;    // of the item that is not complete yet
  std::size_t scanned_ = 0;  // no separator in [begin_, scanned_)
  std::size_t end_ = 0;
  bool ended_ = false;
};

}  // namespace headpond::command
