// Dropout, which does nothing at inference.
#include "layer_kind.hpp"

namespace lstmcore {

std::vector<LayerKind> dropout_kinds() { return {{"Dropout", {"rate", "seed"}, {}, nullptr, nullptr, nullptr}}; }

}  // namespace lstmcore
