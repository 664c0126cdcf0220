// A fingerprint of memory, to notice that it has changed at the speed at which it can be read.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace lstmcore {

/// What remains of the bytes of some memory: 256 bytes for every 32 KiB. A changed word always shows; if several words
/// changed, the change goes unnoticed with a probability of 2^-32 if they are 256 bytes apart, and a smaller one
/// otherwise. Not meant against changes that someone constructs.
class Fingerprint {
 public:
  Fingerprint() = default;
  Fingerprint(const void* memory, std::size_t bytes);

  /// Bytes of the memory.
  std::size_t bytes() const { return bytes_; }

  /// Whether `memory`, as many bytes, has this fingerprint. Of several `parts`, which together cover all of it, only
  /// one is read; with `falling` from its end.
  bool matches(const void* memory, int parts = 1, int part = 0, bool falling = false) const;

 private:
  using Lanes = std::array<std::uint32_t, 64>;

  Lanes block(const void* memory, std::size_t index) const;

  std::size_t bytes_ = 0;
  std::vector<Lanes> blocks_;
};

}  // namespace lstmcore
