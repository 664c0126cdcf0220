// Sizes around a vector of the instruction set in use.
#pragma once

#include <algorithm>
#include <cstdint>

/// One less than the lanes of a vector, or 1 where it has a single one, as on processors without vectors.
inline std::int64_t below_a_vector(std::int64_t lanes) { return std::max<std::int64_t>(1, lanes - 1); }

/// Whether a panel of four vectors is at least as wide as a matrix unit's tile of 16 columns, which such units rely on.
inline bool panels_fill_tiles(std::int64_t lanes) { return 4 * lanes >= 16; }
