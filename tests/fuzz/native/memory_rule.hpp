// The rule for memory, in every target the same: an input may hold 4 times its own bytes, and 64 MiB more.
#pragma once

#include <cstddef>

namespace fuzz {

/// Bytes that an input may hold besides those in proportion to its size.
constexpr std::size_t memory_room = std::size_t{64} << 20;

/// While it lives, what is allocated and not freed again is summed, and a sum beyond the rule ends the program.
class MemoryRule {
 public:
  explicit MemoryRule(std::size_t size);
  ~MemoryRule();
  MemoryRule(const MemoryRule&) = delete;
  MemoryRule& operator=(const MemoryRule&) = delete;
};

/// Whether the rule would let the input hold so many bytes more.
bool has_room(std::size_t bytes);

}  // namespace fuzz
