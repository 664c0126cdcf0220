// Philox 4x32-10, the counter-based random numbers of dropout (Salmon, Moraes, Dror & Shaw 2011, "Parallel random
// numbers: as easy as 1, 2, 3"), one word at a time.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

namespace lstmcore::reference {

using PhiloxBlock = std::array<std::uint32_t, 4>;

inline PhiloxBlock philox_block(PhiloxBlock counter, std::uint32_t key_low, std::uint32_t key_high) {
  constexpr std::uint64_t multiplier_0 = 0xD2511F53u, multiplier_1 = 0xCD9E8D57u;
  constexpr std::uint32_t weyl_0 = 0x9E3779B9u, weyl_1 = 0xBB67AE85u;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product_0 = multiplier_0 * counter[0], product_1 = multiplier_1 * counter[2];
    counter = {
        static_cast<std::uint32_t>(product_1 >> 32) ^ counter[1] ^ key_low, static_cast<std::uint32_t>(product_1),
        static_cast<std::uint32_t>(product_0 >> 32) ^ counter[3] ^ key_high, static_cast<std::uint32_t>(product_0)};
    key_low += weyl_0;
    key_high += weyl_1;
  }
  return counter;
}

/// Random word `element` of the stream of `seed`: word element % 4 of the block at counter element / 4.
inline std::uint32_t philox_word(std::uint64_t seed, std::uint64_t element) {
  const std::uint64_t block = element / 4;
  const PhiloxBlock counter{static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), 0, 0};
  return philox_block(counter, static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32))[element % 4];
}

/// An element is kept if its word is not below this.
inline std::uint32_t dropout_threshold(double rate) {
  const long long scaled = std::llround(rate * 4294967296.0);
  return static_cast<std::uint32_t>(scaled < 4294967295LL ? scaled : 4294967295LL);
}

inline bool dropout_keeps(std::uint64_t seed, std::uint64_t element, double rate) {
  return philox_word(seed, element) >= dropout_threshold(rate);
}

/// The stream of a kind of mask (1 zoneout of h, 2 zoneout of c, 3 recurrent dropout, 4 input dropout, 5 dropout of
/// recurrent weights) of entry `cell`.
inline std::uint64_t mask_stream(std::uint64_t seed, std::uint64_t kind, std::uint64_t cell) {
  std::uint64_t z = seed + (kind * 4294967296u + cell + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

}  // namespace lstmcore::reference
