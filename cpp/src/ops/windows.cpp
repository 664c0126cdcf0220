#include <algorithm>
#include <limits>
#include <lstmcore/ops.hpp>

#include "../api/check.hpp"

namespace lstmcore {

void Windows::validate() const {
  const auto check_number = [](const char* name, std::int64_t value) {
    constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
    require(value >= 1 && value <= most, name, ": expected 1 to ", most, ", got ", value);
  };
  check_number("size", size);
  check_number("stride", stride);
  check_number("dilation", dilation);
  require(padding >= Padding::valid && padding <= Padding::causal,
          "padding: expected valid, same or causal, got number ", static_cast<int>(padding));
}

std::int64_t Windows::count(std::int64_t steps) const {
  if (padding != Padding::valid) return steps / stride + (steps % stride != 0 ? 1 : 0);
  return steps < span() ? 0 : (steps - span()) / stride + 1;
}

std::int64_t Windows::before(std::int64_t steps) const {
  if (padding == Padding::causal) return span() - 1;
  if (padding == Padding::valid || steps < 1) return 0;
  return std::max<std::int64_t>((count(steps) - 1) * stride + span() - steps, 0) / 2;
}

}  // namespace lstmcore
