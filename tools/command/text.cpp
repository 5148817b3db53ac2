#include "text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace headpond::command {

namespace {

/// The number at the front and the unit behind it.
struct Quantity {
  double number = 0;
  std::string unit;
};

std::optional<Quantity> split_quantity(std::string_view text) {
  Quantity quantity;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), quantity.number);
  if (error != std::errc() || !std::isfinite(quantity.number) || quantity.number < 0) return {};
  quantity.unit = std::string(end, text.data() + text.size());
  return quantity;
}

/// A double is exact for whole numbers up to here.
constexpr double kExact = 9007199254740992.0;

std::optional<std::uint64_t> whole(double number) {
  if (number < 0 || number > kExact || number != std::floor(number)) return {};
  return static_cast<std::uint64_t>(number);
}

std::optional<std::uint64_t> parse_digits(std::string_view text) {
  std::uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

std::optional<double> size_unit(std::string unit) {
  std::transform(unit.begin(), unit.end(), unit.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (unit.empty() || unit == "b") return 1.0;
  constexpr std::string_view kSteps = "kmgt";
  const auto step = kSteps.find(unit[0]);
  if (step == std::string_view::npos) return {};
  const auto rest = std::string_view(unit).substr(1);
  if (rest.empty() || rest == "ib") return std::pow(1024.0, static_cast<double>(step + 1));
  if (rest == "b") return std::pow(1000.0, static_cast<double>(step + 1));
  return {};
}

/// The length of the UTF-8 character at the front, 0 if there is none: no overlong form, no surrogate, none above U+10FFFF.
std::size_t utf8_length(std::string_view bytes) {
  const auto at = [&](std::size_t i) { return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0u; };
  const auto tail = [&](std::size_t i) { return (at(i) & 0xC0u) == 0x80u; };
  const unsigned first = at(0);
  if (bytes.empty()) return 0;
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const unsigned low = first == 0xE0 ? 0xA0 : 0x80, high = first == 0xED ? 0x9F : 0xBF;
    return at(1) >= low && at(1) <= high && tail(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const unsigned low = first == 0xF0 ? 0x90 : 0x80, high = first == 0xF4 ? 0x8F : 0xBF;
    return at(1) >= low && at(1) <= high && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

std::string base64(std::string_view bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t here = std::min<std::size_t>(3, bytes.size() - i);
    unsigned group = 0;
    for (std::size_t k = 0; k < 3; ++k)
      group = group << 8 | (k < here ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k) text += k <= here ? kDigits[group >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

/// What base64() made: nothing if the text is another, by a letter, its padding or bits that stand for nothing.
std::optional<std::string> from_base64(std::string_view text) {
  const auto value = [](char c) -> unsigned {
    if (c >= 'A' && c <= 'Z') return static_cast<unsigned>(c - 'A');
    if (c >= 'a' && c <= 'z') return static_cast<unsigned>(c - 'a') + 26;
    if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0') + 52;
    return c == '+' ? 62 : c == '/' ? 63 : 64;
  };
  if (text.size() % 4 != 0) return {};
  std::size_t padding = 0;
  while (padding < 2 && !text.empty() && text.back() == '=') text.remove_suffix(1), ++padding;
  std::string bytes;
  bytes.reserve((text.size() + padding) / 4 * 3);
  unsigned group = 0, bits = 0;
  for (char c : text) {
    const unsigned digit = value(c);
    if (digit > 63) return {};
    group = (group << 6 | digit) & 0xFFFFFFu;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes += static_cast<char>(group >> bits & 0xFFu);
  }
  if (bits != 2 * padding || (group & ((1u << bits) - 1)) != 0) return {};
  return bytes;
}

}  // namespace

std::optional<std::uint64_t> parse_size(std::string_view text) {
  if (auto digits = parse_digits(text)) return digits;
  const auto quantity = split_quantity(text);
  if (!quantity) return {};
  const auto unit = size_unit(quantity->unit);
  return unit ? whole(quantity->number * *unit) : std::nullopt;
}

std::optional<std::uint64_t> parse_count(std::string_view text) {
  if (auto digits = parse_digits(text)) return digits;
  const auto quantity = split_quantity(text);
  return quantity && quantity->unit.empty() ? whole(quantity->number) : std::nullopt;
}

std::optional<std::chrono::milliseconds> parse_seconds(std::string_view text) {
  if (text == "forever") return kForever;
  const auto quantity = split_quantity(text);
  if (!quantity) return {};
  double ms = quantity->number;
  if (quantity->unit.empty() || quantity->unit == "s")
    ms *= 1e3;
  else if (quantity->unit == "m")
    ms *= 60e3;
  else if (quantity->unit == "h")
    ms *= 3600e3;
  else if (quantity->unit == "d")
    ms *= 86400e3;
  else if (quantity->unit != "ms")
    return {};
  if (ms > kExact) return {};
  return std::chrono::milliseconds(static_cast<std::int64_t>(std::ceil(ms)));
}

std::string show_count(std::uint64_t count) {
  std::string text = std::to_string(count);
  for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > 0; at -= 3)
    text.insert(static_cast<std::size_t>(at), 1, ',');
  return text;
}

std::string show_bytes(std::uint64_t bytes) {
  constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) value /= 1024, ++unit;
  const bool exact = value == std::floor(value);
  return exact ? fmt::format("{:.0f} {}", value, kUnits[unit])
               : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string show_rate(double per_second) {
  if (per_second >= 999.5e6) return fmt::format("{:.1f}G", per_second / 1e9);
  if (per_second >= 999.5e3) return fmt::format("{:.1f}M", per_second / 1e6);
  if (per_second >= 9999.5) return fmt::format("{:.0f}k", per_second / 1e3);
  if (per_second >= 9.95 || per_second == 0) return fmt::format("{:.0f}", per_second);
  return fmt::format("{:.1f}", per_second);
}

std::string show_time(std::chrono::milliseconds time) {
  const double seconds = static_cast<double>(time.count()) / 1e3;
  if (seconds < 1) return fmt::format("{} ms", time.count());
  if (seconds < 60) return fmt::format("{:.1f} s", seconds);
  if (seconds < 3600) return fmt::format("{:.1f} min", seconds / 60);
  if (seconds < 86400) return fmt::format("{:.1f} h", seconds / 3600);
  return fmt::format("{:.1f} d", seconds / 86400);
}

std::string show_value(std::string_view value) {
  std::string text;
  for (std::size_t i = 0; i < value.size();) {
    const auto c = static_cast<unsigned char>(value[i]);
    const std::size_t length = utf8_length(value.substr(i));
    const bool control = c < 0x20 || c == 0x7F ||
                         (c == 0xC2 && length == 2 && static_cast<unsigned char>(value[i + 1]) < 0xA0);
    if (length == 0 || control) {
      text += fmt::format("\\x{:02x}", c);
      if (control && length == 2) text += fmt::format("\\x{:02x}", static_cast<unsigned char>(value[i + 1]));
      i += control && length == 2 ? 2 : 1;
    } else {
      if (c == '\\') text += '\\';
      text.append(value.substr(i, length));
      i += length;
    }
  }
  return text;
}

std::string show_name(std::string_view name) {
  const bool plain =
      !name.empty() && name.find_first_of(" \"") == std::string_view::npos && show_value(name) == name;
  return plain ? std::string(name) : '"' + show_value(name) + '"';
}

bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t length = utf8_length(bytes);
    if (length == 0) return false;
    bytes.remove_prefix(length);
  }
  return true;
}

Json json_bytes(std::string_view bytes) {
  if (is_utf8(bytes)) return Json(bytes);
  return Json{{"base64", base64(bytes)}};
}

std::optional<std::string> bytes_of(const Json& json) {
  if (json.is_string()) return json.get<std::string>();
  if (!json.is_object() || json.size() != 1) return {};
  const auto encoded = json.find("base64");
  return encoded != json.end() && encoded->is_string() ? from_base64(encoded->get_ref<const std::string&>())
                                                       : std::nullopt;
}

std::string json_line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace headpond::command
