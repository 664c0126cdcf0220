// Arrays of pointers that share one allocation.
#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>

#include "../runtime/errors.hpp"

namespace lstmcore {

/// Arrays of pointers that share one allocation. The function that lays them out runs twice, first to count and then to
/// hand out, so that the size of the allocation cannot drift from what is taken:
///
///     pointers_ = PointerArrays([&](auto& layout) { layout.take(rows, x_, h_, c_); });
class PointerArrays {
 public:
  class Layout {
   public:
    /// Points each of `arrays` to room for `count` pointers. Nothing may be written there before the layout is
    /// complete.
    template <class... Pointer>
    void take(std::size_t count, Pointer*&... arrays) {
      (take_one(count, arrays), ...);
    }

   private:
    friend class PointerArrays;

    template <class Pointer>
    void take_one(std::size_t count, Pointer*& array) {
      static_assert(std::is_pointer_v<Pointer> && sizeof(Pointer) == sizeof(void*));
      if (memory_ != nullptr) array = reinterpret_cast<Pointer*>(memory_ + taken_ * sizeof(void*));
      taken_ += count;
    }

    std::byte* memory_ = nullptr;  ///< null: only count
    std::size_t taken_ = 0;
  };

  PointerArrays() = default;
  /// Throws std::logic_error if `lay_out` takes a different number of pointers when it is called again.
  template <class LayOut, class = std::enable_if_t<!std::is_same_v<std::decay_t<LayOut>, PointerArrays>>>
  explicit PointerArrays(LayOut&& lay_out) {
    Layout layout;
    lay_out(layout);
    const std::size_t counted = layout.taken_;
    memory_.reset(new std::byte[counted * sizeof(void*)]);
    layout.memory_ = memory_.get();
    layout.taken_ = 0;
    lay_out(layout);
    if (layout.taken_ != counted) {
      raise<std::logic_error>("pointer arrays: the layout took a different number of pointers than it counted");
    }
  }

 private:
  std::unique_ptr<std::byte[]> memory_;
};

}  // namespace lstmcore
