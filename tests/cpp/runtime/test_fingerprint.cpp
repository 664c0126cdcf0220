// A fingerprint notices changes of memory, on every instruction set.
#include <cstddef>
#include <cstdint>
#include <lstmcore/fingerprint.hpp>
#include <string>
#include <vector>

#include "check.hpp"
#include "random.hpp"

namespace {

using lstmcore::Fingerprint;

std::vector<std::uint8_t> some_bytes(std::size_t size) {
  std::vector<std::uint8_t> bytes(size);
  const std::vector<double> values = random_values<double>(static_cast<std::int64_t>(size), size);
  for (std::size_t at = 0; at < size; ++at) bytes[at] = static_cast<std::uint8_t>(128 + 128 * values[at]);
  return bytes;
}

constexpr std::size_t block = 32 << 10;

}  // namespace

TEST("the same bytes have the same fingerprint, read whole, in parts and from the end") {
  for (std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{255}, std::size_t{4096}, 3 * block + 17}) {
    const check::Context context(std::to_string(size) + " bytes");
    const std::vector<std::uint8_t> bytes = some_bytes(size);
    const std::vector<std::uint8_t> copy = some_bytes(size);
    const Fingerprint fingerprint(bytes.data(), bytes.size());
    CHECK_EQUAL(fingerprint.bytes(), size);
    CHECK(fingerprint.matches(copy.data()));
    for (int part = 0; part < 3; ++part) {
      CHECK(fingerprint.matches(copy.data(), 3, part));
      CHECK(fingerprint.matches(copy.data(), 3, part, true));
    }
  }
}

TEST("every bit that changes shows") {
  for (std::size_t size : {std::size_t{1}, std::size_t{3}, std::size_t{300}, block + 5}) {
    std::vector<std::uint8_t> bytes = some_bytes(size);
    const Fingerprint fingerprint(bytes.data(), bytes.size());
    const std::size_t stride = size < 1000 ? 1 : 251;
    for (std::size_t at = 0; at < size; at += stride) {
      for (int bit = 0; bit < 8; ++bit) {
        bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ (1 << bit));
        CHECK(!fingerprint.matches(bytes.data()));
        bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ (1 << bit));
      }
    }
    CHECK(fingerprint.matches(bytes.data()));
  }
}

TEST("changes of all numbers show: other signs, doubled, shifted by a row, zeros") {
  for (std::size_t count : {std::size_t{64}, std::size_t{128}, std::size_t{4096}, std::size_t{20000}}) {
    const check::Context context(std::to_string(count) + " floats");
    const std::vector<float> numbers = random_values<float>(static_cast<std::int64_t>(count), count);
    const Fingerprint fingerprint(numbers.data(), count * sizeof(float));
    const auto shows = [&](auto&& change) {
      std::vector<float> changed(numbers);
      for (std::size_t at = 0; at < count; ++at) changed[at] = change(at);
      return !fingerprint.matches(changed.data());
    };
    CHECK(shows([&](std::size_t at) { return -numbers[at]; }));
    CHECK(shows([&](std::size_t at) { return 2 * numbers[at]; }));
    CHECK(count == 64 || shows([&](std::size_t at) { return numbers[(at + 64) % count]; }));
    CHECK(shows([&](std::size_t) { return 0.0F; }));
  }
}

TEST("only the part that holds a change shows it, and one part does") {
  std::vector<std::uint8_t> bytes = some_bytes(8 * block);
  const Fingerprint fingerprint(bytes.data(), bytes.size());
  for (std::size_t at : {std::size_t{0}, 3 * block, 8 * block - 1}) {
    bytes[at] ^= 1;
    int changed = 0;
    for (int part = 0; part < 3; ++part) changed += fingerprint.matches(bytes.data(), 3, part) ? 0 : 1;
    CHECK_EQUAL(changed, 1);
    bytes[at] ^= 1;
  }
}
