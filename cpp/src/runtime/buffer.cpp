#include "buffer.hpp"

#include <array>
#include <cstdint>
#include <mutex>

#include "policy.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace lstmcore::memory {
namespace {

using policy::huge_page_bytes;
using policy::smallest_huge_block;
using policy::smallest_stored_block;

struct Block {
  void* address = nullptr;
  std::size_t bytes = 0;
};

/// Returned blocks, stored for reuse. Never destroyed, because a tape may outlive every static object.
struct Cache {
  std::mutex mutex;
  std::array<Block, policy::most_stored_blocks> blocks;
  std::size_t bytes = 0;
};

Cache& cache() {
  static Cache* const instance = new Cache;
  return *instance;
}

#if defined(__unix__) || defined(__APPLE__)
/// fork() acquires the lock, and parent and child release it. Otherwise the child could inherit a lock that is held by
/// a thread which exists only in the parent.
[[maybe_unused]] const bool watching_forks =
    pthread_atfork([] { cache().mutex.lock(); }, [] { cache().mutex.unlock(); }, [] { cache().mutex.unlock(); }) == 0;
#endif

/// Whether to ask the system for huge pages.
bool wants_huge_pages([[maybe_unused]] std::size_t bytes) {
#if defined(__linux__)
  return bytes >= smallest_huge_block;
#else
  return false;
#endif
}

std::align_val_t alignment_of(std::size_t bytes) {
  return std::align_val_t(wants_huge_pages(bytes) ? huge_page_bytes : alignment);
}

/// Small blocks are aligned by hand, with the address of the allocation stored in front of the block: the allocator is
/// several times faster when it does not have to align.
void* allocate_small(std::size_t bytes) {
  char* const whole = static_cast<char*>(::operator new(bytes + alignment));
  const std::size_t beyond = reinterpret_cast<std::uintptr_t>(whole) % alignment;  // at most alignment - 16
  char* const block = whole + (alignment - beyond);
  reinterpret_cast<void**>(block)[-1] = whole;
  return block;
}
void release_small(void* block) noexcept { ::operator delete(static_cast<void**>(block)[-1]); }

void* allocate(std::size_t bytes) {
  if (bytes < smallest_stored_block) return allocate_small(bytes);
  void* const address = ::operator new(bytes, alignment_of(bytes));
#if defined(__linux__)
  if (wants_huge_pages(bytes)) madvise(address, bytes / huge_page_bytes * huge_page_bytes, MADV_HUGEPAGE);
#endif
  return address;
}
void release(const Block& block) noexcept {
  if (block.bytes < smallest_stored_block) {
    release_small(block.address);
  } else {
    ::operator delete(block.address, alignment_of(block.bytes));
  }
}

}  // namespace

void* take(std::size_t bytes) {
  if (bytes < smallest_stored_block) return allocate(bytes);
  {
    Cache& stored = cache();
    const std::lock_guard<std::mutex> lock(stored.mutex);
    for (Block& block : stored.blocks) {
      if (block.bytes != bytes) continue;
      void* const address = block.address;
      stored.bytes -= bytes;
      block = Block{};
      return address;
    }
  }
  return allocate(bytes);
}

void give_back(void* block, std::size_t bytes) noexcept {
  Block surplus{block, bytes};
  if (bytes >= smallest_stored_block && bytes <= policy::most_stored_bytes / 2) {
    Cache& stored = cache();
    const std::lock_guard<std::mutex> lock(stored.mutex);
    for (Block& slot : stored.blocks) {
      if (slot.address != nullptr || stored.bytes + bytes > policy::most_stored_bytes) continue;
      slot = surplus;
      stored.bytes += bytes;
      surplus = Block{};
      break;
    }
  }
  if (surplus.address != nullptr) release(surplus);
}

}  // namespace lstmcore::memory
