// Sums of words that no change of one word leaves as they were: the lanes of `Fingerprint`.
#pragma once

#include <cstring>

#include "unroll.hpp"
#include "vector.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

// Eigen's packets of integers are narrower than those of floats on some instruction sets.
#if defined(__GNUC__)
using Words [[gnu::vector_size(sizeof(PacketOf<float>))]] = std::uint32_t;
#else
using Words = std::uint32_t;
#endif

constexpr std::size_t fingerprint_row = kernels::fingerprint_lanes * sizeof(std::uint32_t);
constexpr int fingerprint_vectors = static_cast<int>(fingerprint_row / sizeof(Words));

/// Each lane takes in one word. For a given word this maps lanes one to one, as does each step: exclusive or, the
/// product with an odd number, and adding upper bits to lower ones. So lanes that differ once differ ever after, unless
/// another change meets them. The number is that of the mixer "lowbias32" (C. Wellons).
LSTMCORE_INLINE void mix(Words* lanes, const std::byte* row) {
  unroll<fingerprint_vectors>([&](auto v) {
    Words words;
    std::memcpy(&words, row + v * sizeof(Words), sizeof(Words));
    words = (words ^ lanes[v]) * 0x7feb352dU;
    lanes[v] = words ^ (words >> 15);
  });
}

inline void fingerprint(const void* memory, std::size_t bytes, std::uint32_t* lanes) {
  Words sums[fingerprint_vectors] = {};
  const auto* from = static_cast<const std::byte*>(memory);
  for (; bytes >= fingerprint_row; bytes -= fingerprint_row, from += fingerprint_row) mix(sums, from);
  if (bytes > 0) {
    std::byte padded[fingerprint_row] = {};
    std::memcpy(padded, from, bytes);
    mix(sums, padded);
  }
  std::memcpy(lanes, sums, fingerprint_row);
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
