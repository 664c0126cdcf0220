// What the target of the C interface draws from an input: numbers, arrays of odd sizes, models. An input is a list of
// calls, each a byte for the function and some bytes for its arguments; bytes past the end are 0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace fuzz {

inline void require(bool condition, const char* call, const std::string& what) {
  if (condition) return;
  std::fprintf(stderr, "%s breaks a rule: %s\n", call, what.c_str());
  std::abort();
}

/// An array as a call is told of it. Its memory ends where its elements end, so that the sanitizer sees what is beyond.
template <class T>
struct Array {
  std::unique_ptr<T[]> memory;
  T* data = nullptr;     ///< null now and then
  std::size_t held = 0;  ///< elements
  std::size_t told = 0;  ///< what the call is told: more than `held` only if no call can need so many

  explicit Array(std::size_t size) : memory(new T[size]), data(memory.get()), held(size), told(size) {}
};

class CallProgram {
 public:
  /// Elements of the largest array.
  static constexpr std::int64_t most = 1 << 14;
  /// Numbers above this may ask for more memory than there is.
  static constexpr std::int64_t large = 1 << 12;

  CallProgram(const std::uint8_t* data, std::size_t size) : at_(data), end_(data + size) {}

  bool done() const { return at_ == end_; }
  std::uint8_t byte() { return done() ? std::uint8_t{0} : *at_++; }
  bool rarely() { return byte() % 16 == 15; }

  /// Mostly a small number, else one that is out of range, or large.
  std::int64_t number() {
    constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max();
    constexpr std::int64_t odd[] = {-1,
                                    -2,
                                    std::numeric_limits<std::int64_t>::min(),
                                    huge,
                                    huge - 1,
                                    huge / 2 + 1,
                                    100,
                                    65536,
                                    std::int64_t{1} << 31,
                                    std::int64_t{1} << 32,
                                    17,
                                    huge / 8,
                                    std::int64_t{1} << 40};
    const std::uint8_t drawn = byte();
    if (drawn < 192) return drawn % 6;
    const std::int64_t value = odd[drawn % (sizeof odd / sizeof odd[0])];
    asks_for_much = asks_for_much || value > large;
    return value;
  }

  float value() {
    constexpr float odd[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                             std::numeric_limits<float>::max(), 1e-42f, -0.0f};
    const std::uint8_t drawn = byte();
    return drawn < 240 ? finite(drawn) : odd[drawn % (sizeof odd / sizeof odd[0])];
  }
  float finite_value() { return finite(byte()); }

  /// An array of the `needed` elements, or now and then of others.
  template <class T>
  Array<T> array(std::int64_t needed) {
    const bool fits = needed >= 0 && needed <= most;
    const auto size = static_cast<std::size_t>(fits ? needed : 3);
    const std::uint8_t kind = byte();
    Array<T> array(kind == 255 ? size + 1 : kind == 254 && size > 0 ? size - 1 : size);
    if (kind == 253) array.told = std::numeric_limits<std::size_t>::max() - size;
    if (kind == 252) array.told = std::size_t{1} << 63;
    if (kind == 251) array.data = nullptr;
    if (kind == 250) array = Array<T>(0);
    return array;
  }

  bool asks_for_much = false;  ///< of the current call

 private:
  static float finite(std::uint8_t drawn) { return (static_cast<float>(drawn) - 120.0f) / 32.0f; }

  const std::uint8_t* at_;
  const std::uint8_t* end_;
};

/// Bytes that no call writes: what an array has before the call.
template <class T>
void mark(Array<T>& array) {
  std::memset(array.memory.get(), 0xA5, array.held * sizeof(T));
}

template <class T>
bool is_marked(const Array<T>& array) {
  const auto* const bytes = reinterpret_cast<const unsigned char*>(array.memory.get());
  return std::all_of(bytes, bytes + array.held * sizeof(T), [](unsigned char byte) { return byte == 0xA5; });
}

}  // namespace fuzz
