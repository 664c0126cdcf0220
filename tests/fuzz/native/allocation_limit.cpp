// Lets allocations fail that are larger than an input's rule allows. The C interface must turn that into a status; the
// sanitizers' own limit would end the program instead.
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

constexpr std::size_t most = std::size_t{64} << 20;

void* allocated(std::size_t size, std::size_t alignment) noexcept {
  if (size > most) return nullptr;
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
