#include "stream_io.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "session.h"
#include "stop.h"
#include "text.h"

namespace headpond::command {

namespace {

constexpr std::size_t kFlushBytes = 128 << 10;
constexpr std::size_t kReadBytes = 256 << 10;

/// Waits until the descriptor is ready; false after a signal.
bool await(int descriptor, short events) {
  pollfd files[2] = {{stop_descriptor(), POLLIN, 0}, {descriptor, events, 0}};
  while (stop_signal() == 0) {
    const int ready = ::poll(files, 2, -1);
    if (ready > 0 && files[1].revents != 0) return stop_signal() == 0;
    if (ready < 0 && errno != EINTR) return true;  // let read or write say what is wrong
  }
  return false;
}

}  // namespace

Written write_out(Bytes bytes, int descriptor) {
  Written written;
  while (written.bytes < bytes.size()) {
    // A signal that comes between this look and the write is seen when the reader takes something.
    if (!await(descriptor, POLLOUT)) return {written.bytes, EINTR};
    const ssize_t n = ::write(descriptor, bytes.data() + written.bytes, bytes.size() - written.bytes);
    if (n >= 0)
      written.bytes += static_cast<std::size_t>(n);
    else if (errno != EINTR && errno != EAGAIN)
      return {written.bytes, errno};
  }
  return written;
}

bool reader_gone() {
  pollfd file = {STDOUT_FILENO, 0, 0};
  return ::poll(&file, 1, 0) > 0 && (file.revents & POLLERR) != 0;
}

void throw_if_failed(const Written& written, const std::string& name) {
  if (written.error == EPIPE) throw ReaderGone{};
  if (written.error != 0 && written.error != EINTR)
    throw Failure{kError, fmt::format("{}: {}", name, std::strerror(written.error))};
}

void Output::add(Bytes bytes) {
  buffer_ += bytes;
  if (buffer_.size() >= kFlushBytes) flush();
}

void Output::flush() {
  const Written written = write_out(buffer_, descriptor_);
  buffer_.clear();
  throw_if_failed(written, name_);
}

bool ItemReader::read(std::vector<Bytes>& items) {
  items.clear();
  if (ended_) return false;
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    scanned_ -= begin_;
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ == buffer_.size()) {
    if (end_ > most_bytes_)
      throw Failure{kError, fmt::format("an item of {} is larger than {}", name_, show_bytes(most_bytes_))};
    buffer_.resize(std::max(kReadBytes, buffer_.size() * 2));
  }
  ssize_t n = -1;
  do {
    if (!await(descriptor_, POLLIN)) return false;
    n = ::read(descriptor_, buffer_.data() + end_, buffer_.size() - end_);
  } while (n < 0 && (errno == EINTR || errno == EAGAIN));
  if (n < 0) throw Failure{kError, fmt::format("{}: {}", name_, std::strerror(errno))};
  end_ += static_cast<std::size_t>(n);
  const char* const data = buffer_.data();
  while (const void* found = std::memchr(data + scanned_, separator_, end_ - scanned_)) {
    const auto at = static_cast<std::size_t>(static_cast<const char*>(found) - data);
    items.emplace_back(data + begin_, at - begin_);
    begin_ = scanned_ = at + 1;
  }
  scanned_ = end_;
  if (n == 0) {
    ended_ = true;
    if (end_ > begin_) items.emplace_back(data + begin_, end_ - begin_);
    return !items.empty();
  }
  return true;
}

}  // namespace headpond::command
