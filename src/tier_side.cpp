#include "tier_side.h"

#include <algorithm>
#include <map>

#include "directory.h"
#include "gap.h"
#include "section.h"

namespace headpond::internal {

namespace {

constexpr std::size_t kErasedAtOnce = 16;
// Where the tier cannot do it, who pops shall not wait for that each time.
constexpr std::uint64_t kEraseAgainUs = 5'000'000;
constexpr std::uint64_t kSaveAgainUs = 1'000'000;

TierIdentity identity_in(const Header& header) {
  auto get = [](const Word& word) { return word.load(std::memory_order_acquire); };
  TierIdentity out;
  out.store_id = get(header.tier_store), out.epoch = get(header.tier_epoch);
  const Word* at = header.tier_files;
  for (TierIdentity::File* file : {&out.pages, &out.pages_wal, &out.journal, &out.journal_wal, &out.lock})
    file->device = get(*at++), file->inode = get(*at++);
  return out;
}

void store_identity(Header& header, const TierIdentity& identity) {
  header.tier_epoch.store(identity.epoch, std::memory_order_relaxed);
  Word* at = header.tier_files;
  for (const TierIdentity::File* file :
       {&identity.pages, &identity.pages_wal, &identity.journal, &identity.journal_wal, &identity.lock})
    (at++)->store(file->device, std::memory_order_relaxed),
        (at++)->store(file->inode, std::memory_order_relaxed);
  header.tier_store.store(identity.store_id,
                          std::memory_order_release);  // last: it says that the rest is there
}

}  // namespace

// ------------------------------------------------------------------------------------------------------------------ opening

/// The first opener's tier is the pond's; two at once find the same files. I15: ids go on above all that the store has ever seen.
Status TierSide::remember_identity(ThreadContext& me, Tier& tier, bool known) {
  std::uint64_t highest = 0;
  if (!known) {
    auto declared = tier.streams(sys::precise_us() + kReadPatienceUs);
    if (!declared) return declared.status();
    for (const TierNames& names : *declared) highest = std::max(highest, names.stream >> 4);
  }
  auto section = Section::enter(me, kDirectorySection);
  if (!section) return section.status();
  Header& header = me.pond->segment().header();
  bool same = true;
  if (header.tier_store.load(std::memory_order_acquire) == 0) {
    if (header.stream_ids.load(std::memory_order_relaxed) < highest)
      header.stream_ids.store(highest, std::memory_order_relaxed);
    header.stream_ids_from.store(highest, std::memory_order_relaxed);
    store_identity(header, tier.identity());
  } else {
    same = identity_in(header) == tier.identity();
  }
  section->leave();
  if (same) return {};
  return {Code::corruption, folder_ + ": holds another durable tier than the one that pond " +
                                me.pond->name() + " began with; put its files back, or remove the pond"};
}

void TierSide::begin_with(Segment& segment, const TierIdentity& identity, std::uint64_t stream_ids) {
  segment.header().stream_ids.store(stream_ids, std::memory_order_relaxed);
  store_identity(segment.header(), identity);
}

Result<Tier*> TierSide::tier(ThreadContext& me) {
  if (Tier* open = tier_.load(std::memory_order_acquire)) return open;
  std::lock_guard lock(opening_);
  if (Tier* open = tier_.load(std::memory_order_acquire)) return open;
  const Header& header = me.pond->segment().header();
  TierOptions options;
  options.folder = folder_;
  bool known = header.tier_store.load(std::memory_order_acquire) != 0;
  if (known)
    options.expected = identity_in(header);
  else
    options.create = true;
  // Stopped on the way here, we would make a store in a folder that is being removed, or open that of a pond which was made in place of ours.
  options.allowed = [&] { return Status(me.pond->usable()); };
  auto opened = open_tier(options, sys::precise_us() + kStorePatienceUs);
  if (!opened) return opened.status();
  if (Status mine = remember_identity(me, **opened, known); !mine) return mine;
  kept_ = std::move(*opened);
  tier_.store(kept_.get(), std::memory_order_release);
  return kept_.get();
}

void TierSide::use(std::shared_ptr<Tier> tier) {
  std::lock_guard lock(opening_);
  kept_ = std::move(tier);
  tier_.store(kept_.get(), std::memory_order_release);
}

// ----------------------------------------------------------------------------------------------------------------- streams

Result<std::uint64_t> TierSide::give_id(Lane& lane) {
  if (!lane.stream.id.load(std::memory_order_acquire)) {
    // Never undone: a number that its taker did not live to use is lost, no more.
    Status given = Directory(lane.me).with_stream(lane.binding, [&](StreamWords& words) {
      if (words.id.load(std::memory_order_acquire)) return;
      std::uint64_t id = lane.segment.header().stream_ids.fetch_add(1, std::memory_order_acq_rel) + 1;
      words.id.store(id, std::memory_order_release);
    });
    if (!given) return given;
  }
  std::uint64_t id = id_if_current(lane);
  return id ? Result<std::uint64_t>(id) : Code::not_found;
}

bool TierSide::is_declared(std::uint64_t id) {
  std::lock_guard lock(mutex_);
  return declared_.count(id) != 0;
}

Result<TierNames> TierSide::names_of(Lane& lane, std::uint64_t id) {
  auto key = Directory(lane.me).key_of(lane.binding);
  if (!key) return key.status();
  TierNames names;
  names.stream = id, names.scope = key->scope, names.ns = key->name, names.name = key->key;
  names.kind = static_cast<std::uint8_t>(key->kind);
  return names;
}

Result<std::uint64_t> TierSide::declared_id(Lane& lane) {
  Lane* one = &lane;
  if (Status declared = declare(lane.me, {&one, 1}); !declared) return declared;
  std::uint64_t id = id_if_current(lane);
  return id ? Result<std::uint64_t>(id) : Code::not_found;
}

Status TierSide::declare(ThreadContext& me, std::span<Lane* const> lanes) {
  // Where none has an id yet, the tier says which were given before: it comes first.
  auto open = lanes.empty() ? Result<Tier*>(nullptr) : tier(me);
  if (!open) return open.status();
  std::vector<TierNames> names;
  for (Lane* lane : lanes) {
    auto id = give_id(*lane);
    if (!id) return id.status();
    if (is_declared(*id)) continue;
    auto of = names_of(*lane, *id);
    if (!of) return of.status();
    names.push_back(std::move(*of));
  }
  if (names.empty()) return {};
  if (Status declared = (*open)->declare_all(names, sys::precise_us() + kStorePatienceUs); !declared)
    return declared;
  std::lock_guard lock(mutex_);
  for (const TierNames& of : names) declared_.insert(of.stream);
  return {};
}

// ------------------------------------------------------------------------------------------------------------------- rows

void TierSide::forget(std::uint64_t stream, std::uint64_t first) {
  std::lock_guard lock(mutex_);
  forgotten_.push_back({stream, first});
  forgotten_count_.store(forgotten_.size(), std::memory_order_relaxed);
}

void TierSide::erase_forgotten(ThreadContext& me, bool all) {
  std::size_t waiting = forgotten_count_.load(std::memory_order_relaxed);
  if (waiting == 0 || (!all && (waiting < kErasedAtOnce || sys::coarse_us() < erase_again_us_.load())))
    return;
  std::vector<Forgotten> rows;
  {
    std::lock_guard lock(mutex_);
    rows.swap(forgotten_);
    forgotten_count_.store(0, std::memory_order_relaxed);
  }
  std::map<std::uint64_t, std::vector<std::uint64_t>> by_stream;
  for (const Forgotten& row : rows) by_stream[row.stream].push_back(row.first);
  auto open = tier(me);
  Status failed = open.status();
  for (auto& [stream, firsts] : by_stream) {
    if (failed.ok()) failed = (*open)->erase(stream, firsts, sys::precise_us() + kReadPatienceUs);
    if (!failed.ok())
      for (std::uint64_t first : firsts) forget(stream, first);
  }
  if (failed.ok()) note_erased();
  if (!failed.ok()) erase_again_us_.store(sys::coarse_us() + kEraseAgainUs);
  if (!failed.ok() && failed.code() != Code::timeout)
    me.pond->say(Severity::warning, "pond " + me.pond->name() +
                                        ": rows whose items are done cannot be erased yet: " + failed.text());
}

Status TierSide::mark_cleared(ThreadContext& me, Streams streams, std::uint64_t upto) {
  auto open = tier(me);
  return open ? (*open)->clear(streams, upto, sys::precise_us() + kStorePatienceUs) : open.status();
}

Status TierSide::erase_rows(ThreadContext& me, Streams streams) {
  auto open = tier(me);
  note_erased();
  if (!open) return open.status();
  constexpr std::size_t kAtOnce = 32;  // in the time of one call
  for (; !streams.empty(); streams = streams.subspan(std::min(kAtOnce, streams.size())))
    if (Status erased = (*open)->erase_upto(streams.first(std::min(kAtOnce, streams.size())), kAllIds,
                                            sys::precise_us() + kStorePatienceUs);
        !erased)
      return erased;
  return {};
}

Status TierSide::forget_streams(ThreadContext& me, Streams streams) {
  Status erased = erase_rows(me, streams);
  // What the journal has of them is known for cleared by their names: who trims the journal forgets these.
  if (!erased || me.pond->segment().header().journal_used.load(std::memory_order_acquire)) return erased;
  auto open = tier(me);
  return open ? (*open)->forget(streams, sys::precise_us() + kStorePatienceUs) : open.status();
}

bool TierSide::save_is_due() {
  std::uint64_t now = sys::coarse_us();
  if (now < save_again_us_.load(std::memory_order_relaxed)) return false;
  save_again_us_.store(now + kSaveAgainUs, std::memory_order_relaxed);
  return true;
}

void TierSide::give_back_disk() {
  if (!erased_.load(std::memory_order_relaxed) || !erased_.exchange(false)) return;
  Tier* open = tier_.load(std::memory_order_acquire);
  if (open && !open->maintain(sys::precise_us())) note_erased();
}

std::shared_ptr<const SpilledPage> TierSide::cached(std::uint64_t stream, std::uint64_t seq) {
  std::lock_guard lock(mutex_);
  for (auto& row : cache_)
    if (row && row->stream == stream && row->first <= seq && seq <= row->last) return row;
  return nullptr;
}

void TierSide::cache(std::shared_ptr<const SpilledPage> row) {
  std::lock_guard lock(mutex_);
  cache_[next_in_cache_++ % cache_.size()] = std::move(row);
}

}  // namespace headpond::internal
