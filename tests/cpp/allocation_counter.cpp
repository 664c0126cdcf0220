#include "allocation_counter.hpp"

#include <atomic>
#include <cerrno>
#include <cstddef>

#include "realtime.hpp"

// glibc lets a program replace these functions, and provides the original ones under other names. The sanitizers have
// already replaced them.
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !defined(LSTMCORE_REALTIME_SANITIZER)

namespace {

std::atomic<long> count{0};
thread_local long before_failure = -1;  // allocations; -1: none fails

/// Counts an allocation; returns whether it may succeed.
bool allowed() {
  ++count;
  if (before_failure < 0) return true;
  return before_failure-- > 0;
}

void* out_of_memory() {
  errno = ENOMEM;
  return nullptr;
}

}  // namespace

extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t number, std::size_t size);
void* __libc_realloc(void* block, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

void* malloc(std::size_t size) {
  if (!allowed()) return out_of_memory();
  return __libc_malloc(size);
}
void* calloc(std::size_t number, std::size_t size) {
  if (!allowed()) return out_of_memory();
  return __libc_calloc(number, size);
}
void* realloc(void* block, std::size_t size) {
  if (!allowed()) return out_of_memory();
  return __libc_realloc(block, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  if (!allowed()) return out_of_memory();
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** block, std::size_t alignment, std::size_t size) {
  if (!allowed()) return ENOMEM;
  *block = __libc_memalign(alignment, size);
  return *block != nullptr ? 0 : ENOMEM;
}
}

long allocations() { return count; }
bool allocations_are_counted() { return true; }
void fail_allocation(long count_before) { before_failure = count_before; }
bool allocation_will_fail() { return before_failure >= 0; }

#else

long allocations() { return 0; }
bool allocations_are_counted() { return false; }
void fail_allocation(long /*count*/) {}
bool allocation_will_fail() { return false; }

#endif
