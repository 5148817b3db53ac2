#include "row_image.h"

#include "append.h"

namespace headpond::internal {

void RowImage::add(std::uint64_t id, std::string_view payload, std::uint64_t extra_bytes, ItemId birth,
                   std::uint32_t moves, std::uint64_t stamp_us) {
  skip_to(id);
  std::uint32_t flags = size_flags(payload.size()) | kDurable | (moves ? kMoved : 0);
  std::string record(record_bytes(payload.size(), flags), '\0');
  RecordWord ready = RecordWord::make(RecordState::ready, 0, 0,
                                      flags & kLarge ? 0 : static_cast<std::uint32_t>(payload.size()), flags);
  char* to = lay(record.data(), payload.size(), flags, stamp_us);
  std::memcpy(record.data(), &ready.raw, 8);
  if (moves) {
    MovedRecord moved{birth.value, 0, 0, moves};
    std::memcpy(record.data() + kRecordHeader, &moved, sizeof moved);
  }
  if (!payload.empty()) std::memcpy(to, payload.data(), payload.size());
  image_ += record;
  count(payload.size() - std::min<std::uint64_t>(payload.size(), extra_bytes));
}

}  // namespace headpond::internal
