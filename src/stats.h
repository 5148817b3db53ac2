// Figures of one stream, for Queue::stats, Log::stats and Pond::stats.
#pragma once

#include "headpond/log.h"
#include "lane.h"

namespace headpond::internal {

Code queue_stats(ThreadContext& me, Binding stream, QueueStats& out, Status& error);
Code log_stats(ThreadContext& me, Binding stream, LogStats& out, Status& error);

}  // namespace headpond::internal
