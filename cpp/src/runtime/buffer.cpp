#include "buffer.hpp"

#include <array>
#include <cstdint>
#include <mutex>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace lstmcore::memory {
namespace {

constexpr std::size_t smallest_kept = std::size_t{1} << 16;
constexpr std::size_t most_kept = std::size_t{1} << 28;

struct Block {
  void* address = nullptr;
  std::size_t bytes = 0;
};

/// Blocks given back and not yet taken. Never destroyed: tapes may outlive every other static object.
struct Cache {
  std::mutex mutex;
  std::array<Block, 32> blocks;
  std::size_t bytes = 0;
};

Cache& cache() {
  static Cache* const instance = new Cache;
  return *instance;
}

#if defined(__unix__) || defined(__APPLE__)
/// A child must not inherit the lock from a thread that it does not have.
[[maybe_unused]] const bool watching_forks =
    pthread_atfork([] { cache().mutex.lock(); }, [] { cache().mutex.unlock(); }, [] { cache().mutex.unlock(); }) == 0;
#endif

/// A tape is walked through from end to end several times: in small pages, every few rows would cost a look into the
/// page tables.
constexpr std::size_t huge_page = std::size_t{1} << 21;
constexpr std::size_t smallest_huge = 2 * huge_page;

std::align_val_t alignment_of(std::size_t bytes) {
  return std::align_val_t(bytes < smallest_huge ? alignment : huge_page);
}

/// Small blocks are aligned by hand, with the address of the whole in front: the allocator is several times faster
/// where it need not care.
void* allocate_small(std::size_t bytes) {
  char* const whole = static_cast<char*>(::operator new(bytes + alignment));
  const std::size_t beyond = reinterpret_cast<std::uintptr_t>(whole) % alignment;  // at most alignment - 16
  char* const block = whole + (alignment - beyond);
  reinterpret_cast<void**>(block)[-1] = whole;
  return block;
}
void release_small(void* block) noexcept { ::operator delete(static_cast<void**>(block)[-1]); }

void* allocate(std::size_t bytes) {
  if (bytes < smallest_kept) return allocate_small(bytes);
  void* const address = ::operator new(bytes, alignment_of(bytes));
#if defined(__linux__)
  if (bytes >= smallest_huge) madvise(address, bytes / huge_page * huge_page, MADV_HUGEPAGE);
#endif
  return address;
}
void release(const Block& block) noexcept {
  if (block.bytes < smallest_kept) {
    release_small(block.address);
  } else {
    ::operator delete(block.address, alignment_of(block.bytes));
  }
}

}  // namespace

void* take(std::size_t bytes) {
  if (bytes < smallest_kept) return allocate(bytes);
  {
    Cache& kept = cache();
    const std::lock_guard<std::mutex> lock(kept.mutex);
    for (Block& block : kept.blocks) {
      if (block.bytes != bytes) continue;
      void* const address = block.address;
      kept.bytes -= bytes;
      block = Block{};
      return address;
    }
  }
  return allocate(bytes);
}

void give(void* block, std::size_t bytes) noexcept {
  Block evicted{block, bytes};
  if (bytes >= smallest_kept && bytes <= most_kept / 2) {
    Cache& kept = cache();
    const std::lock_guard<std::mutex> lock(kept.mutex);
    for (Block& slot : kept.blocks) {
      if (slot.address != nullptr || kept.bytes + bytes > most_kept) continue;
      slot = evicted;
      kept.bytes += bytes;
      evicted = Block{};
      break;
    }
  }
  if (evicted.address != nullptr) release(evicted);
}

}  // namespace lstmcore::memory
