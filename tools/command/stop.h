// SIGINT and SIGTERM as something that a command can look at and wait for, so that it ends where it likes: claims given back, pond closed.
#pragma once

namespace headpond::command {

/// From now on SIGINT and SIGTERM are remembered and SIGPIPE is an error of write(2).
void catch_signals();

/// The signal that came, or 0.
int stop_signal() noexcept;

/// Becomes readable when a signal came, and stays so: to be polled beside other descriptors. A flag alone would be missed between looking
/// at it and sleeping.
int stop_descriptor() noexcept;

/// Sleeps until the time is over, the signal, or input on `descriptor` (-1: none). Answers whether there is input.
bool rest(int milliseconds, int descriptor = -1);

/// Ends this process by that signal, as whoever waits for it expects. Everything must be closed by now.
[[noreturn]] void die_of(int signal);

}  // namespace headpond::command
