#include "headpond/scope.h"

#include <algorithm>

#include "directory.h"
#include "retire.h"
#include "settings.h"
#include "stream.h"
#include "unpark.h"

namespace headpond {

using namespace internal;

Scope::Scope(std::shared_ptr<Attachment> attachment, std::string name)
    : attachment_(std::move(attachment)), name_(std::make_shared<const std::string>(std::move(name))) {}

Queue Scope::queue(Bytes name) const {
  return Queue(std::make_shared<Stream>(attachment_, Key{Kind::queue, *name_, std::string(name), {}, {}}));
}
Log Scope::log(Bytes ns, Bytes key) const {
  return Log(
      std::make_shared<Stream>(attachment_, Key{Kind::log, *name_, std::string(ns), std::string(key), {}}));
}

Result<std::vector<StreamName>> Scope::streams() const {
  if (Code usable = attachment_->usable(); usable != Code::ok) return usable;
  ThreadContext* me = attachment_->thread();
  if (!me) return Code::full;
  auto members = Directory(*me).list(&*name_);
  if (!members) return members.status();
  std::vector<StreamName> out;
  for (auto& member : *members) {
    if (!names_stream(member.key.kind)) continue;
    auto kind = member.key.kind == Kind::queue ? StreamName::Kind::queue : StreamName::Kind::log;
    out.push_back({kind, std::move(member.key.name), std::move(member.key.key)});
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

/// Of what the name stands for: it may be parked, come back or be cleared meanwhile.
static Status set_policy(ThreadContext& me, const Key& key, std::uint32_t set, std::uint32_t clear) {
  Directory directory(me);
  for (int tries = 0; tries < 100; tries++) {
    auto now = directory.find(key);
    if (!now) return now.code() == Code::not_found ? Status() : now.status();
    Status done = now->is_parked() ? directory.set_parked_policy(key, set, clear)
                                   : directory.with_stream(*now, [&](StreamWords& words) {
                                       words.policy.fetch_or(set, std::memory_order_seq_cst);
                                       words.policy.fetch_and(~clear, std::memory_order_seq_cst);
                                     });
    if (done.code() != Code::not_found) return done;
    if (now->is_parked()) continue;
    // It is being cleared: its successor is governed as it was.
    if (Status ended = end_stream(me, *now, true); !ended && ended.code() != Code::not_found) return ended;
  }
  return {Code::busy, "a queue of the scope is cleared or parked all the time; try again"};
}

Status Scope::configure(const ScopeOptions& options) const {
  if (Code usable = attachment_->usable(); usable != Code::ok) return usable;
  ThreadContext* me = attachment_->thread();
  if (!me) return Code::full;
  for (auto [name, limit] : {std::pair("max_items", options.max_items), {"max_bytes", options.max_bytes}})
    if (limit >> 62)
      return {Code::invalid, std::string(name) + " is " + std::to_string(limit) + "; it must be below 2^62"};
  std::uint32_t policy = 0;
  if (options.durability == Durability::durable) policy = kDurableByDefault;
  if (options.durability == Durability::posted) policy = kPostedByDefault;
  Directory directory(*me);
  const Key key{Kind::scope, *name_, {}, {}, {}};
  auto set =
      directory.set_values(key, Directory::scope_values(options.max_items, options.max_bytes, policy), false);
  if (!set) return set.status();
  auto members = directory.list(&*name_);
  if (!members) return members.status();
  for (auto& member : *members)
    if (member.key.kind == Kind::queue || member.key.kind == Kind::log) {
      std::uint32_t limits = member.key.kind == Kind::queue ? kLimited : 0u;
      if (Status done = set_policy(*me, member.key, limits | policy, kNotInMemory & ~policy); !done)
        return done;
    }
  return save_setting(*me, key, set->unsaved);
}

Result<ScopeOptions> Scope::options() const {
  if (Code usable = attachment_->usable(); usable != Code::ok) return usable;
  ThreadContext* me = attachment_->thread();
  if (!me) return Code::full;
  ScopeOptions out;
  auto values = Directory(*me).values(Key{Kind::scope, *name_, {}, {}, {}});
  if (values.code() == Code::not_found) return out;
  if (!values) return values.status();
  out.max_items = Directory::scope_max_items(*values), out.max_bytes = values->second;
  std::uint32_t policy = Directory::policy_of(*values);
  if (policy & kPostedByDefault) out.durability = Durability::posted;
  if (policy & kDurableByDefault) out.durability = Durability::durable;
  return out;
}

Result<std::uint64_t> Scope::clear() const {
  if (Code usable = attachment_->usable(); usable != Code::ok) return usable;
  ThreadContext* me = attachment_->thread();
  if (!me) return Code::full;
  Directory directory(*me);
  auto members = directory.list(&*name_);
  if (!members) return members.status();
  std::uint64_t taken = 0;
  std::vector<Key> cursors;
  for (const auto& member : *members)
    if (member.key.kind == Kind::cursor) cursors.push_back(member.key);
  if (Status dropped = drop_cursors(*me, cursors); !dropped) return dropped;
  for (auto& member : *members) {
    if (member.key.kind == Kind::cursor) continue;
    Result<std::uint64_t> retired = Code::not_found;
    int tries = 0;
    for (Result<Binding> now = member.stream; now && tries < 100; now = directory.find(member.key), tries++) {
      retired = now->is_parked() ? clear_parked(*me, member.key, false) : retire_stream(*me, *now, false);
      if (retired || (retired.code() != Code::not_found && retired.code() != Code::busy))
        break;  // else the name means something else by now
    }
    if (!retired && retired.code() != Code::not_found) return retired.status();
    taken += retired ? *retired : 0;
  }
  return taken;
}

}  // namespace headpond
