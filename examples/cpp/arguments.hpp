// Numbers that people write: arguments of programs and fields of tables.
#pragma once

#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <string>

namespace example {

// All of `text` must be the number. What is not finite as float, in which models compute, would stay in their state for
// ever. Errors begin with `what`.
inline double finite_number(const std::string& what, const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  const bool finite = std::fabs(value) <= static_cast<double>(std::numeric_limits<float>::max());  // false for NaN
  if (text.empty() || end != text.c_str() + text.size() || !finite) {
    throw std::runtime_error(what + ": expected a finite number, got \"" + text + "\"");
  }
  return value;
}

// From `least` to `most`.
inline std::int64_t whole_number(const std::string& what, const std::string& text, std::int64_t least,
                                 std::int64_t most = std::numeric_limits<std::int64_t>::max()) {
  char* end = nullptr;
  errno = 0;
  const long long value = std::strtoll(text.c_str(), &end, 10);
  if (text.empty() || end != text.c_str() + text.size() || errno != 0 || value < least || value > most) {
    throw std::runtime_error(what + ": expected a whole number from " + std::to_string(least) + " to " +
                             std::to_string(most) + ", got \"" + text + "\"");
  }
  return value;
}

}  // namespace example
