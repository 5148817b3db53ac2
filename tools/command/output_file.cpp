#include "output_file.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "session.h"

namespace headpond::command {

namespace {

[[noreturn]] void fail(const std::string& path) {
  throw Failure{kError, fmt::format("{}: {}", path, std::strerror(errno))};
}

}  // namespace

OutputFile::OutputFile(const std::string& path) {
  if (path == "-") {
    output_.emplace();
    return;
  }
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    descriptor_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  } else {
    // What a link names is replaced, not the link.
    const auto canonical = std::filesystem::weakly_canonical(path, error);
    path_ = error ? path : canonical.string();
    beside_ = path_ + ".XXXXXX";
    descriptor_ = ::mkostemp(beside_.data(), O_CLOEXEC);
    if (descriptor_ < 0) beside_.clear();
  }
  if (descriptor_ < 0) fail(path);
  output_.emplace(descriptor_, path);
}

OutputFile::~OutputFile() {
  if (!is_standard_output() && descriptor_ >= 0) ::close(descriptor_);
  if (!beside_.empty()) ::unlink(beside_.c_str());
}

void OutputFile::commit() {
  output_->flush();
  if (beside_.empty()) return;
  if (::fsync(descriptor_) != 0 || ::rename(beside_.c_str(), path_.c_str()) != 0) fail(path_);
  beside_.clear();
}

}  // namespace headpond::command
