#include <cmath>

#include "layers.hpp"

namespace lstmcore {

Pieces::Pieces(Index longest, Index every) {
  if (every == recompute_sqrt) every = static_cast<Index>(std::ceil(std::sqrt(static_cast<double>(longest))));
  if (every == 0 || every >= longest) {
    steps = {{0, longest}};
    return;
  }
  steps.clear();
  for (Index begin = 0; begin < longest; begin += every) steps.push_back({begin, std::min(begin + every, longest)});
}

}  // namespace lstmcore
