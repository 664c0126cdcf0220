#include <cmath>

#include "layers.hpp"

namespace lstmcore {

Segments::Segments(Index longest, Index every) : longest_(longest), every_(longest) {
  if (every == recompute_sqrt) every = static_cast<Index>(std::ceil(std::sqrt(static_cast<double>(longest))));
  if (every == 0 || every >= longest) return;
  every_ = every;
  count_ = (longest + every - 1) / every;
}

}  // namespace lstmcore
