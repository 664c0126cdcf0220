// A dropout rate in terms of the integers of the counter-based generator.
#pragma once

#include <cmath>
#include <cstdint>

namespace lstmcore {

/// An element is dropped if its 32 random bits are below the threshold, which happens with probability `rate`. The
/// other elements are multiplied by the factor, so that the expectation stays the same.
struct DropoutMask {
  explicit DropoutMask(double rate) : factor(1 / (1 - rate)) {
    const auto scaled = std::llround(rate * 4294967296.0);
    threshold = static_cast<std::uint32_t>(scaled < 4294967295LL ? scaled : 4294967295LL);
  }
  std::uint32_t threshold;
  double factor;
};

}  // namespace lstmcore
