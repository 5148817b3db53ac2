#include "claim_access.h"

namespace headpond {

using internal::ClaimAccess;

void Claim::give_back() noexcept {
  (void)ClaimAccess::give_back(*this);
  if (pond_) ClaimAccess::forget(*this);  // whatever came of it
}

ItemId Claim::id() const noexcept { return ClaimAccess::id(*this); }
Status Claim::ack(const AckOptions& options) { return ClaimAccess::ack(*this, options.durability); }
Status Claim::ack() {
  internal::Attachment* pond = pond_;
  internal::Reference over;
  bool mine = false;
  if (ClaimAccess::ack_straight(*this, mine, over)) [[likely]] {
    if (over) [[unlikely]]
      ClaimAccess::unlink_over(*pond, binding_, lane_, over);
    return mine ? Code::ok : Code::fenced;
  }
  return ClaimAccess::ack(*this, {});
}
Status Claim::nack(const NackOptions& options) {
  if (options.delay.count() < 0 || options.delay > std::chrono::hours(24 * 365))
    return {Code::invalid, "delay must be from 0 to 365 days"};
  return ClaimAccess::nack(*this, options.delay);
}
Status Claim::extend(milliseconds lease) {
  if (lease.count() < 1 || lease > std::chrono::hours(24 * 30))
    return {Code::invalid, "a lease is from 1 ms to 30 days"};
  return ClaimAccess::extend(*this, lease);
}
Status Claim::bury(Bytes reason) {
  if (reason.size() > 1024) return {Code::too_large, "a reason has at most 1,024 bytes"};
  return ClaimAccess::bury(*this, reason);
}

}  // namespace headpond
