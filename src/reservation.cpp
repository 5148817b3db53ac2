#include "append.h"
#include "claim_access.h"
#include "retire.h"
#include "unlink.h"

namespace headpond::internal {

Reservation ClaimAccess::make(Lane& lane, const Place& place, int hold) {
  Reservation r;
  r.pond_ = lane.me.pond, r.binding_ = lane.binding.raw, r.reference_ = place.page.reference.raw,
  r.word_ = place.word.raw;
  r.ids_before_ = place.ids_before, r.offset_ = static_cast<std::uint32_t>(place.offset),
  r.hold_ = static_cast<std::int16_t>(hold);
  r.lane_ = static_cast<std::uint8_t>(lane.number),
  r.id_ = {static_cast<std::uint64_t>(lane.number) << 60 | place.id};
  r.data_ = place.page.payload(place.offset, place.word);
  // before the operation pin goes
  lane.me.pond->participant().hold[hold].store(place.page.reference.page(), std::memory_order_release);
  lane.me.open_claims++;
  return r;
}

ItemId ClaimAccess::commit(Reservation& r) {
  if (!r.pond_ || r.pond_->usable() != Code::ok) return r.id_;
  ThreadContext* me = r.pond_->thread();
  if (!me) return r.id_;
  Lane lane(*me, Binding{r.binding_}, r.lane_);
  Place place{view_of(lane.segment, Reference{r.reference_}), r.offset_, r.ids_before_, r.id_.seq(),
              RecordWord{r.word_}};
  publish(lane, place, place.word.ready().with_claims(0), 1, lane.wake_one());
  bool cleared = (lane.stream.state.load(std::memory_order_relaxed) & 0xff) !=
                 static_cast<std::uint64_t>(StreamState::live);
  r.pond_->give_hold(*me, r.hold_);
  me->open_claims--;
  r.pond_ = nullptr;
  if (cleared) finish_tombed(*me, lane.binding);
  return r.id_;
}

void ClaimAccess::abandon(Reservation& r) {
  if (!r.pond_ || r.pond_->usable() != Code::ok) return;
  ThreadContext* me = r.pond_->thread();
  if (!me) return;
  Lane lane(*me, Binding{r.binding_}, r.lane_);
  Place place{view_of(lane.segment, Reference{r.reference_}), r.offset_, r.ids_before_, r.id_.seq(),
              RecordWord{r.word_}};
  internal::abandon(lane, place);
  Reference over = page_is_over(place.page) ? place.page.reference : Reference{};
  r.pond_->give_hold(*me, r.hold_);
  me->open_claims--;
  r.pond_ = nullptr;
  if (over) unlink_done(lane, over);
}

}  // namespace headpond::internal

namespace headpond {

using internal::ClaimAccess;

Reservation::Reservation(Reservation&& other) noexcept
    : pond_(std::exchange(other.pond_, nullptr)),
      binding_(other.binding_),
      reference_(other.reference_),
      word_(other.word_),
      ids_before_(other.ids_before_),
      offset_(other.offset_),
      hold_(other.hold_),
      lane_(other.lane_),
      id_(other.id_),
      data_(other.data_) {}

Reservation& Reservation::operator=(Reservation&& other) noexcept {
  if (this == &other) return *this;
  this->~Reservation();
  return *new (this) Reservation(std::move(other));
}

Reservation::~Reservation() {
  if (pond_) ClaimAccess::abandon(*this);
}

ItemId Reservation::commit() noexcept { return ClaimAccess::commit(*this); }

}  // namespace headpond
