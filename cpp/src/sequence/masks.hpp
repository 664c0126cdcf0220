// Zoneout's masks in the integers of the counter-based generator.
#pragma once

#include <lstmcore/lstm.hpp>

#include "dropout_mask.hpp"

namespace lstmcore {

/// Zoneout of h or c in one direction of a layer: an element keeps its value if its 32 random bits are not below the
/// threshold.
struct ZoneoutMask {
  bool active = false;
  std::uint64_t seed = 0;
  std::uint32_t threshold = 0;

  ZoneoutMask() = default;
  ZoneoutMask(double rate, std::uint64_t stream)
      : active(rate > 0.0), seed(stream), threshold(active ? DropoutMask(1.0 - rate).threshold : 0) {}
};

}  // namespace lstmcore
