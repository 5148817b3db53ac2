// What is set of queues and of the scope, and where the cursor is, as text: in memory, and as a loss of the segment would leave it.
#pragma once

#include "operations.h"

namespace crash {

/// Of each queue of the scope, of the scope, of the cursor "reader", and only what differs from the pond's defaults:
///
///    | work paused draining lease 5000 attempts 3 items 100 bytes 4096 | scope items 50 bytes 4096 posted | cursor 2
///
/// Throws if a queue shows a limit of its own that nobody would look at. Parked queues come back by it.
std::string settings_found(Stage& stage, const Options& pond);

/// What settings_found() answers in a pond that is made from what is on disk now, in a process of its own: of a copy, so the pond itself goes on.
/// REQUIRES: nobody writes.
std::string after_reboot(const std::string& pond, const Options& options);

/// Throws if a name is still marked unsaved.
void nothing_is_unsaved(Stage& stage);

}  // namespace crash
