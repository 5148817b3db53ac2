#include "delay.h"

namespace headpond::internal {

namespace {

void lower(Word& word, std::uint64_t due_ms) {
  DueWord due{word.load(std::memory_order_acquire)};
  do {
    // the version rises all the same: a scan that is under way may not raise it
    if (due.ms() != 0 && due.ms() < due_ms) due_ms = due.ms();
  } while (!word.compare_exchange_weak(due.raw, due.next(due_ms).raw, std::memory_order_acq_rel));
}

}  // namespace

void lower_due(Lane& lane, const PageView& page, std::uint64_t due_ms) {
  lower(page.header->due, due_ms);
  lower(lane.stream.due, due_ms);
}
void lower_stream_due(Lane& lane, std::uint64_t due_ms) { lower(lane.stream.due, due_ms); }

}  // namespace headpond::internal
