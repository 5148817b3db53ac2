#include "headpond/pond.h"

#include <algorithm>
#include <cerrno>

#include "fixed.h"
#include "gc.h"
#include "group_commit.h"
#include "headpond/headpond.h"
#include "leftovers.h"
#include "pond_access.h"
#include "reap.h"
#include "room.h"
#include "settings.h"
#include "tier_side.h"

namespace headpond {

using namespace internal;

const char* version() noexcept { return "0.1.0"; }
std::uint32_t layout_version() noexcept { return kLayoutVersion; }

namespace {

Status check_local(const Options& options) {
  if (options.spin.count() < 0 || options.spin > std::chrono::milliseconds(10))
    return {Code::invalid, "spin must be from 0 to 10 ms"};
  if (options.full_timeout.count() < 0) return {Code::invalid, "full_timeout must not be negative"};
  if (options.durable_timeout.count() < 0) return {Code::invalid, "durable_timeout must not be negative"};
  if (Status good = check_gc(options.gc); !good) return good;
  return Fixed{}.with(options).check();
}

/// What the maintenance thread does in each round. The tier is touched only where something was spilled, or memory gets short.
void maintain(Attachment& pond) {
  ThreadContext* me = pond.thread();
  if (!me || pond.usable() != Code::ok) return;
  reap_dead(*me);
  const Header& header = pond.segment().header();
  auto used = [&] { return header.units_used.load(std::memory_order_relaxed) * kUnit; };
  Status done;
  if (pond.options().on_full == OnFull::spill && used() > header.spill_high_bytes) {
    for (std::uint64_t before = ~0ULL; done.ok() && used() > header.spill_low_bytes && used() < before;) {
      before = used();
      Spilled out;
      done = make_space(*me, spill_step(pond.segment()), out);
    }
  }
  if (const GcOptions& gc = pond.options().gc; gc.spill_idle.count() > 0 || gc.drop_idle.count() > 0)
    if (pond.gc_is_due(gc))
      if (Status collected = collect_idle(*me, gc).status(); !collected) done = collected;
  if (pond.tier_side().save_is_due())
    if (Status saved = save_unsaved(*me, sys::precise_us() + kStorePatienceUs, NoTier::leave_it); !saved)
      done = saved;
  if (posts_waiting(*me) > 0)
    if (Status flushed = flush_posts(*me, sys::precise_us() + kStorePatienceUs); !flushed) done = flushed;
  pond.tier_side().erase_forgotten(*me, true);
  if (pond.tier_side().take_death() && done.ok()) done = erase_leftovers(*me).status();
  pond.tier_side().give_back_disk();
  if (!done && done.code() != Code::timeout)
    pond.say(Severity::warning,
             "pond " + pond.name() + ": maintenance cannot use the durable tier: " + done.text());
}

Result<std::shared_ptr<Attachment>> attach(const std::string& name, const Options& options, bool create) {
  if (Status good = check_local(options); !good) return good;
  auto attachment = Attachment::open(name, options, create);
  if (!attachment) return attachment;
  if (ThreadContext* me = (*attachment)->thread()) reap_dead(*me);
  if (options.maintenance) (*attachment)->start_maintenance(maintain);
  return attachment;
}

}  // namespace

Pond::Pond(std::shared_ptr<Attachment> attachment) : attachment_(std::move(attachment)) {}
Pond::Pond(Pond&&) noexcept = default;
Pond& Pond::operator=(Pond&&) noexcept = default;
Pond::~Pond() = default;

Result<Pond> Pond::open(const std::string& name, const Options& options) {
  auto attachment = attach(name, options, true);
  if (!attachment) return attachment.status();
  return Pond(std::move(*attachment));
}
Result<Pond> Pond::open_existing(const std::string& name, const Options& options) {
  auto attachment = attach(name, options, false);
  if (!attachment) return attachment.status();
  return Pond(std::move(*attachment));
}

Status Pond::remove(const std::string& name, const RemoveOptions& options) {
  if (Status good = Segment::check_name(name); !good) return good;
  // What we were asked to remove is what is there now: by the time that we may, it may be another pond's.
  auto file = Segment::open_file(name);
  if (!file && file.code() != Code::not_found) return file.status();
  auto remove_segment = [&] { return file ? Segment::remove(name, *file) : file.status(); };
  auto state = StateFolder::open(name, options.state_home, false);
  if (state.code() == Code::not_found) return remove_segment();  // its folder is gone: only the name is left
  if (!state) return state.status();
  auto right = state->exclusive();
  if (!right && right.status().error_number() == ENOENT)
    return {Code::not_found, "pond " + name + ": another process removed it just now"};
  if (!right) return right.status();
  Status removed = remove_segment();
  if (!removed && removed.code() != Code::not_found) return removed;
  // Made anew meanwhile: its folder is not ours to empty. With the folder's lock nobody makes it now.
  if (!removed && (!state->is_same() || Segment::open_file(name).code() != Code::not_found)) return removed;
  if (!options.keep_state) {
    if (Status gone = remove_tier(state->path(), [&] { return forget_fixed(*state); }); !gone) return gone;
    if (Status discarded = state->discard(); !discarded) return discarded;
    if (removed.code() == Code::not_found) return {};  // the cure of a half-removed pond
  }
  return removed;
}

const std::string& Pond::name() const noexcept { return attachment_->name(); }
Scope Pond::scope(Bytes name) const { return Scope(attachment_, std::string(name)); }
Result<std::vector<std::string>> Pond::scopes() const {
  if (Code usable = attachment_->usable(); usable != Code::ok) return usable;
  ThreadContext* me = attachment_->thread();
  if (!me) return Code::full;
  auto entries = Directory(*me).list();
  if (!entries) return entries.status();
  std::vector<std::string> out;
  for (auto& entry : *entries)
    if (names_stream(entry.key.kind) ||
        (entry.key.kind == Kind::scope && (entry.values.first || entry.values.second)))
      out.push_back(std::move(entry.key.scope));
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}
Recovered Pond::recovered() const noexcept { return pond_recovered(*attachment_); }
Status Pond::flush() const {
  if (Code usable = attachment_->usable(); usable != Code::ok) return usable;
  ThreadContext* me = attachment_->thread();
  if (!me) return Code::full;
  std::uint64_t until = durable_deadline(*attachment_);
  Status saved = save_unsaved(*me, until, NoTier::make_it), flushed = flush_posts(*me, until);
  return saved ? flushed : saved;
}

Result<GcResult> Pond::gc(const GcOptions& options) const {
  if (Code usable = attachment_->usable(); usable != Code::ok) return usable;
  ThreadContext* me = attachment_->thread();
  if (!me) return Code::full;
  return collect_idle(*me, options);
}

Result<Stats> Pond::stats() const { return pond_stats(*attachment_); }
Result<Findings> Pond::verify() const { return pond_verify(*attachment_); }

Result<std::uint32_t> Pond::reap() const {
  if (Code usable = attachment_->usable(); usable != Code::ok) return usable;
  ThreadContext* me = attachment_->thread();
  if (!me) return Code::full;
  std::uint32_t reaped = reap_dead(*me);
  make_room(*me);
  attachment_->tier_side().erase_forgotten(*me, true);
  if (auto erased = erase_leftovers(*me); !erased)
    attachment_->say(
        Severity::warning,
        "pond " + name() + ": rows that are left over cannot be erased yet: " + erased.status().text());
  attachment_->tier_side().give_back_disk();
  return reaped;
}

}  // namespace headpond
