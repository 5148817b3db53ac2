// The union that a journal stands for: pushed minus acked, by birth id. Neither order nor repetition matters.
//
// Three passes over the journal, so that memory is needed for ids only, never for payloads. Nobody may commit or trim meanwhile.
#pragma once

#include <functional>
#include <map>

#include "journal.h"
#include "src/tier.h"

namespace headpond::internal {

/// `cleared`: stream -> the highest cleared id. An item whose last place is cleared is no survivor.
Status visit_survivors(Journal& journal, const std::map<std::uint64_t, std::uint64_t>& cleared,
                       const std::function<Status(const Tier::Acked&)>& acks,
                       const std::function<Status(const JournalEntry&)>& visit, std::uint64_t deadline_us);

}  // namespace headpond::internal
