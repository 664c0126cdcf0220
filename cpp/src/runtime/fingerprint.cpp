#include <algorithm>
#include <lstmcore/fingerprint.hpp>

#include "isa.hpp"

namespace lstmcore {
namespace {

constexpr std::size_t block_bytes = 32 << 10;

}  // namespace

Fingerprint::Fingerprint(const void* memory, std::size_t bytes) : bytes_(bytes) {
  blocks_.reserve((bytes + block_bytes - 1) / block_bytes);
  for (std::size_t index = 0; index * block_bytes < bytes; ++index) blocks_.push_back(block(memory, index));
}

Fingerprint::Lanes Fingerprint::block(const void* memory, std::size_t index) const {
  static_assert(std::tuple_size_v<Lanes> == kernels::fingerprint_lanes);
  const std::size_t first = index * block_bytes;
  Lanes lanes;
  active_table().fingerprint(static_cast<const std::byte*>(memory) + first, std::min(block_bytes, bytes_ - first),
                             lanes.data());
  return lanes;
}

bool Fingerprint::matches(const void* memory, int parts, int part, bool falling) const {
  const std::size_t count = blocks_.size(), all = static_cast<std::size_t>(parts), own = static_cast<std::size_t>(part);
  const std::size_t begin = count * own / all, end = count * (own + 1) / all;
  for (std::size_t done = 0; done < end - begin; ++done) {
    const std::size_t index = falling ? end - 1 - done : begin + done;
    if (block(memory, index) != blocks_[index]) return false;
  }
  return true;
}

}  // namespace lstmcore
