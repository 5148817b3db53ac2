// Columns as wide as they need to be.
#pragma once

#include <string>
#include <vector>

namespace headpond::command {

class Table {
 public:
  /// A name that begins with '<' is a column of text, aligned left; the others are figures, aligned right.
  explicit Table(std::vector<std::string> names);
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.size() == 1; }
  /// The lines, the names first, without newlines.
  std::vector<std::string> lines() const;

 private:
  std::vector<bool> left_;
  std::vector<std::vector<std::string>> rows_;
};

/// Characters of UTF-8, taken as one column each.
std::size_t columns(const std::string& text);
/// At most this many of them.
std::string cut(const std::string& text, std::size_t most);

}  // namespace headpond::command
