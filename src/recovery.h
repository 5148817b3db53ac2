// Cures that need the tier alone: what a store shows to be wrong without any segment.
#pragma once

#include <cstdint>

#include "tier.h"

namespace headpond::internal::recovery {

struct Swept {
  std::uint64_t streams = 0;  // looked at
  std::uint64_t erased = 0;   // rows of cleared ids
};

/// Looks at every stream that has rows. `corruption` if one is unknown, before anything is changed. Erases the rows of cleared ids: a power
/// cut may have brought them back, or the clear's author died; safe when it returns. Looks at no page's bytes. Idempotent.
Result<Swept> sweep(Tier& tier, std::uint64_t deadline_us);

}  // namespace headpond::internal::recovery
