// The segment's file: made whole before it has a name, checked before it is mapped, mapped once.
#pragma once

#include <boost/interprocess/mapped_region.hpp>
#include <functional>
#include <memory>
#include <string>

#include "fixed.h"
#include "headpond/options.h"
#include "headpond/status.h"
#include "layout.h"
#include "state_folder.h"
#include "sys.h"

namespace headpond::internal {

/// A section's mutex: robust, shared between processes.
void make_mutex(pthread_mutex_t& mutex);

constexpr std::uint64_t kRemovalByte = 1ULL << 61;  // of the segment's inode, a lock: who takes its name away

/// One mapping of one segment. Immutable but for the shared memory behind it; safe to share between threads. What the header says is
/// copied and checked when attaching: later damage there can't lead a pointer astray.
class Segment {
 public:
  /// Names: 1 to 128 of [A-Za-z0-9._-], not beginning with a dot.
  static Status check_name(const std::string& pond);
  static std::string path_of(const std::string& pond);

  /// Makes a new segment, has it filled, and gives it its name; `exists` if it is taken. What `fill` answers, if that is not ok: then there is none. REQUIRES: fixed.check()
  /// is ok.
  static Result<std::shared_ptr<Segment>> create(
      const std::string& pond, const Fixed& fixed, const StateFolder& state,
      const std::function<Status(const std::shared_ptr<Segment>&)>& fill);
  /// Is it a segment of ours whose name is all that is left: of before the last boot, or removed by one who was killed before the name went?
  /// Nobody attaches to it. Whoever makes the pond anew, or removes it, takes the name away.
  static bool is_over(const sys::Fd& file);
  /// Opens by name: owner, mode, links and kind are checked. `not_found` if there is none.
  static Result<sys::Fd> open_file(const std::string& pond);
  /// Checks the header and maps that file. An explicit option that differs from what the creator fixed is `exists`.
  static Result<std::shared_ptr<Segment>> map(const std::string& pond, sys::Fd file, const Options& options,
                                              const StateFolder& state);
  /// Marks the segment removed, if it is one of ours, and takes its name away: of this file, whatever has the name by then. Safe beside any other, also from
  /// another state folder: one at a time has the lock on its inode. `not_found`: the name means another, or none. `timeout`: another is at it for 2 s.
  static Status remove(const std::string& pond, const sys::Fd& file);

  const std::string& pond() const { return pond_; }
  const sys::Fd& file() const { return file_; }
  void forget_file() { file_.reset(); }  // in a forked child
  Header& header() const { return *header_; }
  bool uses_membarrier() const { return uses_membarrier_; }
  std::uint32_t min_page_bytes() const { return fixed_.min_page_bytes; }
  std::uint32_t max_page_bytes() const { return fixed_.max_page_bytes; }
  std::uint64_t limit_bytes() const { return fixed_.limit_bytes; }
  std::uint32_t max_participants() const { return fixed_.max_participants; }
  const Fixed& fixed() const { return fixed_; }
  std::uint64_t capacity(Table table) const { return capacity_[static_cast<int>(table)]; }

  SectionWords& section(std::uint32_t i) const { return at<SectionWords>(Table::sections, i); }
  Word& floor(std::uint32_t i) const { return at<Word>(Table::floors, i); }
  Word& bitmap(std::uint64_t i) const { return at<Word>(Table::bitmap, i); }
  ParticipantWords& participant(std::uint32_t slot) const {
    return at<ParticipantWords>(Table::participants, slot);
  }
  PinWords& pins(std::uint32_t i) const { return at<PinWords>(Table::pins, i); }
  /// Pages are numbered from 1.
  LifeEntry& life(std::uint32_t page) const { return lives_[page - 1]; }
  char* page(std::uint32_t page) const { return pages_ + static_cast<std::uint64_t>(page - 1) * kUnit; }
  /// Bytes of that page, by the size in its life, but never more than there are: 0 if that is nonsense.
  std::uint64_t page_bytes(std::uint32_t page) const {
    std::uint64_t units = lives_[page - 1].units.load(std::memory_order_relaxed),
                  all = reserved(Table::pages);
    return page - 1 < all && units <= all - (page - 1) ? units * kUnit : 0;
  }
  StreamWords& stream(std::uint32_t i) const { return at<StreamWords>(Table::streams, i); }
  SlotWords& slot(std::uint32_t i) const { return at<SlotWords>(Table::slots, i); }
  Word& bucket(std::uint32_t i) const { return at<Word>(Table::buckets, i); }

  /// Elements that memory stands behind; never more than the table has, whatever its mark says.
  std::uint64_t reserved(Table table) const {
    int t = static_cast<int>(table);
    std::uint64_t mark = header_->reserved[t].load(std::memory_order_acquire);
    return mark < capacity_[t] ? mark : capacity_[t];
  }
  /// Is this page number one that memory stands behind?
  bool backed(std::uint32_t page) const { return page - 1 < reserved(Table::pages); }

  /// Puts memory behind the first `elements` of a table, and some more. `full` if the file system has none, or the table ends. Any
  /// number of processes at once; killed at any instruction it leaves at most memory that is reserved again.
  Status back(Table table, std::uint64_t elements);

  std::uint64_t offset_of(const void* place) const {
    return static_cast<std::uint64_t>(static_cast<const char*>(place) - base_);
  }
  /// A word of the segment by its offset; null if that is none.
  Word* word_at(std::uint64_t offset) const {
    return offset % 8 == 0 && offset < bytes_ - 8 ? reinterpret_cast<Word*>(base_ + offset) : nullptr;
  }
  /// Shared memory that it takes now.
  std::uint64_t used_bytes() const;

 private:
  template <class T>
  T& at(Table table, std::uint64_t i) const {
    return reinterpret_cast<T*>(base_ + offset_[static_cast<int>(table)])[i];
  }
  Status attach(const Header& checked);

  std::string pond_;
  sys::Fd file_;
  boost::interprocess::mapped_region region_;
  char* base_ = nullptr;
  Header* header_ = nullptr;
  LifeEntry* lives_ = nullptr;
  char* pages_ = nullptr;
  std::uint64_t bytes_ = 0;
  std::uint64_t offset_[kTables] = {}, capacity_[kTables] = {};
  Fixed fixed_;
  bool uses_membarrier_ = true;
};

}  // namespace headpond::internal
