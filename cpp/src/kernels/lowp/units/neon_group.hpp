// A packed group of the left factor for NEON's dot products, which multiply by one 32-bit lane of a register.
#pragma once

#include <cstring>

#include "../../vector.hpp"
#include "../table.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

/// The bits of a group, as a number that the compiler holds in a vector register.
using NeonGroup = float;

inline NeonGroup load_group(const kernels::PackedGroup* from) {
  NeonGroup group;
  std::memcpy(&group, from, sizeof group);
  return group;
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
