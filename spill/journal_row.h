// A row of the journal as bytes: how many entries, then each; numbers in seven bits a byte, the lowest first.
//
//   row    count, entries
//   entry  kind, flags, moves, birth_stream, birth_seq, then
//            push, note   stream, seq, size, payload
//            ack          birth_last - birth_seq
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "src/tier.h"

namespace headpond::internal {

/// Numbers out of range? Then `invalid`.
Status check_entry(const JournalEntry& entry);

std::string encode_entries(std::span<const JournalEntry> entries);

/// Visits each; a payload is a view into `bytes`. False: these are no entries, some may have been visited. What the visitor answers ends
/// the visits, and is put into `visited`.
bool decode_entries(std::string_view bytes, const std::function<Status(const JournalEntry&)>& visit,
                    Status& visited);

}  // namespace headpond::internal
