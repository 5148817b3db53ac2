// Figures and names as people type and read them.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace headpond::command {

using Json = nlohmann::ordered_json;

/// "64MiB", "8M", "1g", "1.5GiB", "4096": K, M, G, T and KiB ... are powers of 1024, kB, MB ... of 1000.
std::optional<std::uint64_t> parse_size(std::string_view text);
/// "250000", "1e6", "2.5e3": whole numbers.
std::optional<std::uint64_t> parse_count(std::string_view text);
/// "0.5", "500ms", "5s", "2m", "1h", "3d" (a plain number is seconds), or "forever". Rounded up to a millisecond.
std::optional<std::chrono::milliseconds> parse_seconds(std::string_view text);
constexpr std::chrono::milliseconds kForever = std::chrono::milliseconds::max();

std::string show_count(std::uint64_t count);            // 1,234,567
std::string show_bytes(std::uint64_t bytes);            // 12.3 MiB
std::string show_rate(double per_second);               // 1.2M
std::string show_time(std::chrono::milliseconds time);  // 3.2 s
/// The name as it is, if it is plain; else quoted, with what cannot be printed as \xNN. The unnamed one is "".
std::string show_name(std::string_view name);
/// A value on one line of a table: control characters and what is not UTF-8 as \xNN, a backslash doubled.
std::string show_value(std::string_view value);

bool is_utf8(std::string_view bytes);
/// A JSON string; bytes that are not UTF-8 as {"base64": "..."}.
Json json_bytes(std::string_view bytes);
/// The bytes that json_bytes() made it of; nothing if it is another JSON value.
std::optional<std::string> bytes_of(const Json& json);
/// One line. Never throws, whatever the strings hold.
std::string json_line(const Json& json);

}  // namespace headpond::command
