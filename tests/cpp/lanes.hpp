// Sizes around a vector of the instruction set in use.
#pragma once

#include <algorithm>
#include <cstdint>

/// One less than the lanes of a vector, or 1 where it has a single one, as on processors without vectors.
inline std::int64_t below_a_vector(std::int64_t lanes) { return std::max<std::int64_t>(1, lanes - 1); }
