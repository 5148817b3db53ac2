#include "segment.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "check.h"

namespace headpond::internal {

namespace {

using boost::interprocess::mapped_region;

/// What Boost maps: the descriptor that was checked, never the name again.
struct Mappable {
  int fd;
  boost::interprocess::mapping_handle_t get_mapping_handle() const { return {fd, false}; }
};

Result<mapped_region> map_file(const std::string& path, int fd, std::uint64_t bytes) {
  try {
    return mapped_region(Mappable{fd}, boost::interprocess::read_write, 0, bytes);
  } catch (const boost::interprocess::interprocess_exception& e) {
    return Status(Code::system, path + ": cannot map " + std::to_string(bytes) + " bytes: " + e.what(),
                  e.get_native_error());
  }
}

Status failed(const std::string& path, const char* what, int error) {
  if (error == ENOSPC) {
    std::uint64_t left = sys::free_bytes(sys::shm_folder());
    return {Code::full,
            path + ": cannot " + what + ": the shared-memory file system has " + std::to_string(left >> 10) +
                " KiB left; make it larger (mount -o remount,size=...; docker run --shm-size) or use a "
                "smaller pond",
            error};
  }
  return {error == EACCES || error == EPERM ? Code::permission : Code::system,
          path + ": cannot " + what + ": " + std::strerror(error), error};
}

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t to) { return (value + to - 1) / to * to; }

// Where each table stands is a function of the limit and the number of participants alone: who attaches computes it again.
void lay_out(Header& h) {
  std::uint64_t units = h.limit_bytes / kUnit;
  auto set = [&](Table t, std::uint64_t capacity) { h.table[static_cast<int>(t)].capacity = capacity; };
  set(Table::sections, kSections);
  set(Table::floors, kFloors);
  set(Table::bitmap, units / 64);
  set(Table::participants, h.max_participants + 2);
  set(Table::pins, kMaxThreads);
  set(Table::lives, units);
  set(Table::streams, std::clamp<std::uint64_t>(h.limit_bytes / 1024, 64, 1 << 20));
  set(Table::slots, std::clamp<std::uint64_t>(h.limit_bytes / 128, 1024, 1 << 24));
  set(Table::buckets, h.table[static_cast<int>(Table::slots)].capacity);
  set(Table::pages, units);
  std::uint64_t at = 4096;
  for (int i = 0; i < kTables; i++) {
    h.table[i].offset = at;
    at += round_up(h.table[i].capacity * element_bytes(static_cast<Table>(i)), 4096);
  }
  h.file_bytes = at;
}

Fixed fixed_of(const Header& h) {
  return {.limit_bytes = h.limit_bytes,
          .max_participants = h.max_participants,
          .min_page_bytes = h.min_page_bytes,
          .max_page_bytes = h.max_page_bytes,
          .queue = {.lease = milliseconds(static_cast<std::int64_t>(h.default_lease_us / 1000)),
                    .max_attempts = h.default_max_attempts,
                    .max_items = h.default_max_items,
                    .max_bytes = h.default_max_bytes}};
}

}  // namespace

void make_mutex(pthread_mutex_t& mutex) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  HEADPOND_CHECK(pthread_mutex_init(&mutex, &attributes) == 0);
  pthread_mutexattr_destroy(&attributes);
}

Status Segment::check_name(const std::string& pond) {
  bool good = !pond.empty() && pond.size() <= 128 && pond[0] != '.';
  for (char c : pond)
    good = good && (std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-');
  if (good) return {};
  return {Code::invalid,
          "a pond's name has 1 to 128 of the characters A-Z a-z 0-9 . _ - and does not begin with a dot"};
}

std::string Segment::path_of(const std::string& pond) {
  return sys::shm_folder() + "/headpond." + std::to_string(sys::user()) + "." + pond;
}

Result<std::shared_ptr<Segment>> Segment::create(
    const std::string& pond, const Fixed& fixed, const StateFolder& state,
    const std::function<Status(const std::shared_ptr<Segment>&)>& fill) {
  std::string path = path_of(pond);
  auto segment = std::make_shared<Segment>();
  segment->pond_ = pond;
  if (int error = sys::create_unnamed(sys::shm_folder(), segment->file_))
    return failed(path, "create", error);

  Header h{};
  h.magic = kMagic, h.version = kLayoutVersion, h.header_bytes = sizeof(Header),
  h.layout_hash = layout_hash();
  h.limit_bytes = fixed.limit_bytes, h.max_participants = fixed.max_participants;
  h.min_page_bytes = fixed.min_page_bytes, h.max_page_bytes = fixed.max_page_bytes;
  h.no_membarrier = !sys::register_barrier();
  h.pid_namespace = sys::pid_namespace();
  h.state_device = state.device(), h.state_inode = state.inode();
  h.created_ms = sys::wall_ms();
  std::strncpy(h.boot_id, sys::boot_id().c_str(), sizeof h.boot_id - 1);
  h.default_lease_us = static_cast<std::uint64_t>(fixed.queue.lease.count()) * 1000;
  h.default_max_items = fixed.queue.max_items, h.default_max_bytes = fixed.queue.max_bytes;
  h.default_max_attempts = fixed.queue.max_attempts;
  h.spill_high_bytes = h.limit_bytes / 8 * 7, h.spill_low_bytes = h.limit_bytes / 4 * 3;
  lay_out(h);

  if (int error = sys::resize(segment->file_, h.file_bytes)) return failed(path, "set its size", error);
  if (int error = sys::reserve(segment->file_, 0, 4096)) return failed(path, "reserve memory", error);
  auto region = map_file(path, segment->file_.get(), h.file_bytes);
  if (!region) return region.status();
  segment->region_ = std::move(*region);
  std::memcpy(segment->region_.get_address(), &h, offsetof(Header, removed));
  if (Status attached = segment->attach(h); !attached) return attached;

  for (auto [table, count] : {std::pair{Table::sections, std::uint64_t{kSections}},
                              {Table::floors, std::uint64_t{kFloors}},
                              {Table::buckets, std::uint64_t{512}},
                              {Table::slots, std::uint64_t{32}},
                              {Table::streams, std::uint64_t{4}},
                              {Table::participants, std::uint64_t{2}},
                              {Table::pins, std::uint64_t{1}}})
    if (Status backed = segment->back(table, count); !backed) return backed;
  for (std::uint32_t i = 0; i < kSections; i++) make_mutex(segment->section(i).mutex);
  segment->header_->bucket_count.store(512, std::memory_order_relaxed);

  if (Status filled = fill(segment); !filled) return filled;
  if (int error = sys::give_name(segment->file_, path)) {
    if (error == EEXIST) return Status(Code::exists, path + ": is there already");
    return failed(path, "give it its name", error);
  }
  return segment;
}

Result<sys::Fd> Segment::open_file(const std::string& pond) {
  std::string path = path_of(pond);
  sys::Fd file;
  if (int error = sys::open_file(path, false, file)) {
    if (error == ENOENT) return Status(Code::not_found, "pond " + pond + ": there is none (" + path + ")");
    if (error == ELOOP)
      return Status(Code::permission, path + ": is a symbolic link, and a segment must be a plain file");
    return failed(path, "open", error);
  }
  sys::FileInfo info;
  if (int error = sys::describe(file, info)) return failed(path, "look at it", error);
  if (!info.regular) return Status(Code::permission, path + ": is no plain file");
  if (info.uid != sys::user())
    return Status(Code::permission, path + ": belongs to uid " + std::to_string(info.uid) + ", not to you");
  if (info.mode != 0600)
    return Status(Code::permission, path + ": others may open it; a segment has mode 0600");
  if (info.links > 1)
    return Status(Code::permission,
                  path + ": has " + std::to_string(info.links) + " names, and a segment has one");
  return file;
}

bool Segment::is_over(const sys::Fd& file) {
  alignas(Header) char bytes[sizeof(Header)];
  std::size_t got = 0;
  if (sys::read_at(file, 0, bytes, sizeof bytes, got) || got < sizeof bytes) return false;
  Header h{};
  std::memcpy(static_cast<void*>(&h), bytes, offsetof(Header, removed));
  h.boot_id[sizeof h.boot_id - 1] = 0;
  return h.magic == kMagic && h.version == kLayoutVersion && h.layout_hash == layout_hash() &&
         (sys::boot_id() != h.boot_id || reinterpret_cast<const Header*>(bytes)->removed.load());
}

Result<std::shared_ptr<Segment>> Segment::map(const std::string& pond, sys::Fd file, const Options& options,
                                              const StateFolder& state) {
  if (Status good = Fixed{}.with(options).check(); !good) return good;
  std::string path = path_of(pond);
  auto damaged = [&](const std::string& why) {
    return Status(Code::corruption, path + ": " + why + "; `headpond rm` removes it");
  };
  sys::FileInfo info;
  if (int error = sys::describe(file, info)) return failed(path, "look at it", error);
  alignas(Header) char bytes[sizeof(Header)];
  std::size_t got = 0;
  if (int error = sys::read_at(file, 0, bytes, sizeof bytes, got)) return failed(path, "read", error);
  if (got < sizeof bytes) return damaged("is truncated: " + std::to_string(got) + " bytes");
  Header h{};
  std::memcpy(static_cast<void*>(&h), bytes, offsetof(Header, removed));
  if (h.magic != kMagic) return damaged("is no headpond segment");
  if (h.version > kLayoutVersion)
    return Status(Code::unsupported, path + ": has layout version " + std::to_string(h.version) +
                                         ", and this library knows " + std::to_string(kLayoutVersion) +
                                         ": upgrade it, or remove the pond with the newer one");
  if (h.version != kLayoutVersion || h.header_bytes != sizeof(Header) || h.layout_hash != layout_hash())
    return Status(Code::unsupported, path +
                                         ": was made by another build of this library with another layout: "
                                         "drain it with that one, then `headpond rm`");
  const Fixed fixed = fixed_of(h);
  if (!fixed.check()) return damaged("its header says nonsense");
  Header expected = {};
  std::memcpy(static_cast<void*>(&expected), &h, offsetof(Header, removed));
  lay_out(expected);
  if (std::memcmp(expected.table, h.table, sizeof h.table) || expected.file_bytes != h.file_bytes)
    return damaged("its tables are not where they belong");
  if (info.size != h.file_bytes)
    return damaged("has " + std::to_string(info.size) + " bytes and should have " +
                   std::to_string(h.file_bytes));
  h.boot_id[sizeof h.boot_id - 1] = 0;
  if (sys::boot_id() != h.boot_id) return damaged("was made before the last boot");
  if (h.pid_namespace != sys::pid_namespace())
    return Status(Code::unsupported,
                  path +
                      ": was created in another pid namespace, where the death of processes does not show: "
                      "share it between the containers (docker run --pid)");
  if (h.state_device != state.device() || h.state_inode != state.inode())
    return Status(Code::unsupported, path + ": belongs to another state folder than " + state.path() +
                                         ": set HEADPOND_HOME as its creator did, or `headpond rm`");
  if (!h.no_membarrier && !sys::register_barrier())
    return Status(Code::unsupported,
                  path + ": relies on membarrier(2), which this process may not use (seccomp?)");
  if (std::string what = fixed.differs_from(fixed.with(options)); !what.empty())
    return Status(
        Code::exists,
        "pond " + pond + ": was created with " + what +
            "; leave the option out, or stop its processes, `headpond rm --keep-state`, which loses what "
            "is in memory alone, and open it with the option");
  auto segment = std::make_shared<Segment>();
  segment->pond_ = pond, segment->file_ = std::move(file);
  auto region = map_file(path, segment->file_.get(), h.file_bytes);
  if (!region) return region.status();
  segment->region_ = std::move(*region);
  if (Status attached = segment->attach(h); !attached) return attached;
  for (int i = 0; i < kTables; i++)
    if (segment->header_->reserved[i].load(std::memory_order_acquire) > segment->capacity_[i])
      return damaged("a table is larger than it can be");
  return segment;
}

Status Segment::attach(const Header& checked) {
  base_ = static_cast<char*>(region_.get_address());
  bytes_ = checked.file_bytes, fixed_ = fixed_of(checked);
  uses_membarrier_ = !checked.no_membarrier;
  for (int i = 0; i < kTables; i++)
    offset_[i] = checked.table[i].offset, capacity_[i] = checked.table[i].capacity;
  header_ = reinterpret_cast<Header*>(base_);
  lives_ = &at<LifeEntry>(Table::lives, 0);
  pages_ = &at<char>(Table::pages, 0);
  sys::keep_out_of_core_dumps(base_, bytes_);
  return {};
}

Status Segment::back(Table table, std::uint64_t elements) {
  int t = static_cast<int>(table);
  Word& mark = header_->reserved[t];
  std::uint64_t now = mark.load(std::memory_order_acquire);
  if (elements <= now) return {};
  std::string path = path_of(pond_);
  if (elements > capacity_[t])
    return {Code::full, path + ": a table of the segment is full (" + std::to_string(capacity_[t]) +
                            " elements); a larger limit_bytes gives larger tables"};
  std::uint64_t size = element_bytes(table);
  std::uint64_t step =
      std::clamp<std::uint64_t>(now * size / 8, table == Table::pages ? 64 << 10 : 4096, 512 << 10);
  std::uint64_t want = std::min(
      capacity_[t],
      round_up(std::max(elements * size, std::min(now * size + step, capacity_[t] * size)), 4096) / size);
  std::uint64_t from = now * size / 4096 * 4096, to = round_up(want * size, 4096);
  int error = sys::reserve(file_, offset_[t] + from, to - from);
  if (error == ENOSPC && want > elements) {  // no room for the step: try for exactly what is needed
    want = elements, to = round_up(want * size, 4096);
    error = sys::reserve(file_, offset_[t] + from, to - from);
  }
  if (error) return failed(path, "reserve memory", error);
  for (std::uint64_t seen = now;
       seen < want && !mark.compare_exchange_weak(seen, want, std::memory_order_acq_rel);) {
  }
  return {};
}

std::uint64_t Segment::used_bytes() const {
  sys::FileInfo info;
  return sys::describe(file_, info) ? 0 : info.blocks_bytes;
}

Status Segment::remove(const std::string& pond, const sys::Fd& file) {
  std::string path = path_of(pond);
  sys::Fd locked;  // a description of its own, whose lock goes with it
  if (int error = sys::open_again(file, locked)) return failed(path, "open it again", error);
  if (int error = sys::lock_waiting(locked, kRemovalByte, 2000)) {
    if (error == EAGAIN)
      return {Code::timeout,
              path + ": another process has been removing it for over 2 s, or is stopped in it"};
    return failed(path, "lock", error);
  }
  sys::FileInfo mine, named;
  if (int error = sys::describe(locked, mine)) return failed(path, "look at it", error);
  if (sys::describe(path, named) || named.inode != mine.inode || named.device != mine.device)
    return {Code::not_found, path + ": was removed or replaced by another process meanwhile"};
  if (mine.size >= 4096) {
    auto region = map_file(path, locked.get(), 4096);
    if (!region) return region.status();
    auto& header = *static_cast<Header*>(region->get_address());
    if (header.magic == kMagic && header.version == kLayoutVersion)
      header.removed.store(1, std::memory_order_release);
  }
  if (int error = sys::remove_name(path)) return failed(path, "remove", error);
  return {};
}

}  // namespace headpond::internal
