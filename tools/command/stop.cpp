#include "stop.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>

namespace headpond::command {

namespace {

std::atomic<int> came{0};
int wakeup[2] = {-1, -1};  // a pipe: [1] written by the handler, [0] polled

extern "C" void on_signal(int signal) {
  const int saved = errno;
  came.store(signal, std::memory_order_relaxed);
  [[maybe_unused]] auto written = ::write(wakeup[1], "", 1);
  errno = saved;
}

}  // namespace

void catch_signals() {
  if (::pipe2(wakeup, O_CLOEXEC | O_NONBLOCK) != 0) std::abort();
  struct sigaction action = {};
  action.sa_handler = on_signal;  // no SA_RESTART: a write that blocks ends
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    // What was ignored stays ignored, as nohup and background jobs of scripts want.
    struct sigaction before = {};
    ::sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN) ::sigaction(signal, &action, nullptr);
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is an error of the call that meets it
}

int stop_signal() noexcept { return came.load(std::memory_order_relaxed); }

int stop_descriptor() noexcept { return wakeup[0]; }

bool rest(int milliseconds, int descriptor) {
  pollfd files[2] = {{wakeup[0], POLLIN, 0}, {descriptor, POLLIN, 0}};
  return ::poll(files, 2, milliseconds) > 0 && (files[1].revents & (POLLIN | POLLHUP)) != 0;
}

void die_of(int signal) {
  std::signal(signal, SIG_DFL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
  std::raise(signal);
  std::_Exit(128 + signal);
}

}  // namespace headpond::command
