// The image of a row (gap.h), made record by record: by who rebuilds a pond, from other rows and from the journal.
#pragma once

#include <string>

#include "gap.h"

namespace headpond::internal {

/// Records by rising id; ids that are left out are done.
class RowImage {
 public:
  explicit RowImage(std::uint64_t first) : first_(first), next_(first) {
    ImageHeader header{kImageFormat, 0};
    image_.assign(reinterpret_cast<const char*>(&header), sizeof header);
  }

  std::uint64_t first() const { return first_; }
  std::uint64_t last() const { return next_ - 1; }
  const Weight& weight() const { return weight_; }
  const std::string& image() const { return image_; }
  /// Of the page that it will be, as far as it is made.
  std::uint64_t page_bytes() const { return image_.size() - sizeof(ImageHeader) + kFirstRecord; }

  /// Can the next record have this id? Each 65,535 ids between take some bytes.
  bool reaches(std::uint64_t id) const { return id >= next_ && id - next_ <= 64 * kMostDone; }

  /// A READY record as it lies in a page. REQUIRES: reaches(id).
  void copy(LaneKind kind, const PageView& page, std::uint64_t offset, RecordWord word, std::uint64_t id) {
    skip_to(id);
    image_.append(page.base + offset, page.extent(offset, word));
    count(own_bytes(kind, page, offset, word));
  }

  /// A READY record of the journal; `moves`: 0 for one that is at its place of birth. REQUIRES: reaches(id).
  void add(std::uint64_t id, std::string_view payload, std::uint64_t extra_bytes, ItemId birth,
           std::uint32_t moves, std::uint64_t stamp_us);

  /// SEAL. Nothing follows.
  void seal() { word(RecordWord::seal(static_cast<std::uint32_t>(next_ - first_)).raw); }

 private:
  static constexpr std::uint64_t kMostDone = 0xffff;
  void word(std::uint64_t raw) { image_.append(reinterpret_cast<const char*>(&raw), 8); }
  void skip_to(std::uint64_t id) {
    for (std::uint64_t n; next_ < id; next_ += n) {
      n = std::min(id - next_, kMostDone);
      word(RecordWord::make(RecordState::done, 0, static_cast<std::uint32_t>(n), 0).raw), word(0);
    }
  }
  void count(std::uint64_t bytes) { next_++, weight_.items++, weight_.bytes += bytes; }

  std::uint64_t first_, next_;
  Weight weight_;
  std::string image_;
};

}  // namespace headpond::internal
