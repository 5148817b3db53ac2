// Figures of one stream, for Queue::stats, Log::stats and Pond::stats.
#pragma once

#include "headpond/log.h"
#include "headpond/pond.h"
#include "lane.h"

namespace headpond::internal {

/// Opens the tier if there is one. Sleeps on the disk and its locks.
DurableStats durable_stats(ThreadContext& me);
Code queue_stats(ThreadContext& me, Binding stream, QueueStats& out, Status& error);
Code log_stats(ThreadContext& me, Binding stream, LogStats& out, Status& error);

}  // namespace headpond::internal
