// The reference's random numbers against the published known answers (the file kat_vectors of Random123).
#include "check.hpp"
#include "reference/philox.hpp"

using lstmcore::reference::dropout_keeps;
using lstmcore::reference::dropout_threshold;
using lstmcore::reference::philox_block;
using lstmcore::reference::philox_word;
using lstmcore::reference::PhiloxBlock;

TEST("known answers of Philox 4x32-10") {
  const std::uint32_t ones = 0xffffffffu;
  CHECK(philox_block({0, 0, 0, 0}, 0, 0) == PhiloxBlock{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u});
  CHECK(philox_block({ones, ones, ones, ones}, ones, ones) ==
        PhiloxBlock{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu});
  CHECK(philox_block({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, 0xa4093822u, 0x299f31d0u) ==
        PhiloxBlock{0xd16cfe09u, 0x94fdcceb, 0x5001e420u, 0x24126ea1u});
}

TEST("element k is word k % 4 of the block at counter k / 4") {
  const std::uint64_t seed = 0x0123456789abcdefu, element = (std::uint64_t{5} << 34) + 11;
  CHECK_EQUAL(philox_word(seed, element), philox_block({2, 5, 0, 0}, 0x89abcdefu, 0x01234567u)[3]);
}

TEST("dropout keeps a share of 1 - rate") {
  CHECK_EQUAL(dropout_threshold(0), 0u);
  CHECK_EQUAL(dropout_threshold(0.5), 0x80000000u);
  CHECK_EQUAL(dropout_threshold(1 - 1e-12), 0xffffffffu);
  int kept = 0;
  for (std::uint64_t k = 0; k < 10000; ++k) kept += dropout_keeps(7, k, 0.3) ? 1 : 0;
  CHECK_CLOSE(kept, 7000, 0.02);  // three standard deviations of the binomial distribution
}
