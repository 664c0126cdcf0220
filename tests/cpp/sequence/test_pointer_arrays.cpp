// PointerArrays: several arrays in one allocation, counted by the function that takes them.
#include "check.hpp"
#include "sequence/pointer_arrays.hpp"

using lstmcore::PointerArrays;

TEST("arrays of pointers do not overlap and hold what was asked for") {
  const float** a = nullptr;
  float** b = nullptr;
  double** c = nullptr;
  const PointerArrays arrays([&](auto& layout) {
    layout.take(3, a, b);
    layout.take(5, c);
  });
  // An overflow of the allocation is found where the tests run with AddressSanitizer.
  float value = 1;
  double other = 2;
  for (int i = 0; i < 3; ++i) a[i] = b[i] = &value;
  for (int i = 0; i < 5; ++i) c[i] = &other;
  for (int i = 0; i < 3; ++i) CHECK(a[i] == &value && b[i] == &value);
  for (int i = 0; i < 5; ++i) CHECK(c[i] == &other);
}

TEST("a layout may have no pointers") {
  const float** none = nullptr;
  const PointerArrays arrays([&](auto& layout) { layout.take(0, none); });
  CHECK(none != nullptr);
}

TEST("a layout that takes more or fewer pointers than it counted is refused") {
  const auto lay_out = [](std::size_t counted, std::size_t taken) {
    float** array = nullptr;
    bool again = false;
    const PointerArrays arrays([&](auto& layout) {
      layout.take(again ? taken : counted, array);
      again = true;
    });
  };
  CHECK_THROWS(lay_out(3, 4), "a different number of pointers");
  CHECK_THROWS(lay_out(4, 3), "a different number of pointers");
}
