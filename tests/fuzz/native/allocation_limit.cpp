// Lets allocations fail with which an input would hold more than its rule allows. The C interface must turn that into a
// status; the rule itself, and the sanitizers' own limit, would end the program instead.
#include <cstddef>
#include <cstdlib>
#include <new>

#include "memory_rule.hpp"

namespace {

// Smaller allocations than the first always succeed, as long as they fit into what others leave them; the target itself
// makes no larger ones.
constexpr std::size_t small = std::size_t{256} << 10, left_to_small = fuzz::memory_room / 8;

void* allocated(std::size_t size, std::size_t alignment) noexcept {
  if (size > fuzz::memory_room) return nullptr;
  if (size > small && !fuzz::has_room(size + left_to_small)) return nullptr;
  const std::size_t whole = (size + alignment) / alignment * alignment;  // at least 1
  return alignment <= alignof(std::max_align_t) ? std::malloc(whole) : std::aligned_alloc(alignment, whole);
}

void* allocated_or_throw(std::size_t size, std::size_t alignment) {
  void* const address = allocated(size, alignment);
  if (address == nullptr) throw std::bad_alloc();
  return address;
}

}  // namespace

void* operator new(std::size_t size) { return allocated_or_throw(size, 1); }
void* operator new[](std::size_t size) { return allocated_or_throw(size, 1); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocated(size, 1); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return allocated(size, 1); }
void* operator new(std::size_t size, std::align_val_t to) { return allocated_or_throw(size, std::size_t(to)); }
void* operator new[](std::size_t size, std::align_val_t to) { return allocated_or_throw(size, std::size_t(to)); }

void operator delete(void* address) noexcept { std::free(address); }
void operator delete[](void* address) noexcept { std::free(address); }
void operator delete(void* address, std::size_t) noexcept { std::free(address); }
void operator delete[](void* address, std::size_t) noexcept { std::free(address); }
void operator delete(void* address, const std::nothrow_t&) noexcept { std::free(address); }
void operator delete[](void* address, const std::nothrow_t&) noexcept { std::free(address); }
void operator delete(void* address, std::align_val_t) noexcept { std::free(address); }
void operator delete[](void* address, std::align_val_t) noexcept { std::free(address); }
void operator delete(void* address, std::size_t, std::align_val_t) noexcept { std::free(address); }
void operator delete[](void* address, std::size_t, std::align_val_t) noexcept { std::free(address); }
