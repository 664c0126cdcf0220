// Uninitialized memory for the engine, aligned to cache lines. All scratch and every tape comes from here.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include "errors.hpp"

namespace lstmcore {

namespace memory {
constexpr std::size_t alignment = 64;
/// An uninitialized block. Large blocks may be reused ones: see policy.hpp.
void* take(std::size_t bytes);
/// Returns a block from `take`: it is stored for reuse, or goes to the system if enough are stored.
void give_back(void* block, std::size_t bytes) noexcept;
}  // namespace memory

/// `count` uninitialized elements of a trivial type.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t count) { resize(count); }
  ~Buffer() { clear(); }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  /// Discards the contents; allocates only if the capacity is too small.
  void resize(std::size_t count) {
    if (count > capacity_) {
      clear();
      if (count > static_cast<std::size_t>(-1) / sizeof(T) - memory::alignment) raise_out_of_memory();
      data_ = static_cast<T*>(memory::take(count * sizeof(T)));
      capacity_ = count;
    }
    size_ = count;
  }
  /// Empties the buffer and makes room for `count` elements.
  void reserve(std::size_t count) {
    resize(count);
    size_ = 0;
  }
  /// Preserves the contents. At least doubles the capacity, so that growing often is cheap.
  void grow(std::size_t count) {
    if (count > capacity_) {
      Buffer larger(std::max(count, 2 * capacity_));
      std::copy(data_, data_ + size_, larger.data_);
      swap(larger);
    }
    size_ = count;
  }
  void clear() noexcept {
    if (data_ != nullptr) memory::give_back(data_, capacity_ * sizeof(T));
    data_ = nullptr;
    capacity_ = size_ = 0;
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::size_t bytes() const { return capacity_ * sizeof(T); }
  T& operator[](std::size_t index) { return data_[index]; }
  const T& operator[](std::size_t index) const { return data_[index]; }

 private:
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

  T* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace lstmcore
