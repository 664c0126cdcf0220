#include "limits_kernels.hpp"

#include <cstdint>

namespace limits {
namespace LIMITS_ISA {
namespace {

#if defined(__AVX512F__)
constexpr std::size_t vector_bytes = 64;
#elif defined(__AVX2__)
constexpr std::size_t vector_bytes = 32;
#else
constexpr std::size_t vector_bytes = 16;
#endif

/// Enough independent sums to hide the latency of two units; they and two factors fit into 16 registers.
constexpr int sums = 12;

template <class T>
struct VectorOf {
  typedef T Type __attribute__((vector_size(vector_bytes)));
};
typedef std::int32_t Bits __attribute__((vector_size(vector_bytes)));

template <class T>
double multiply_add(std::size_t rounds, T seed, T* sink) {
  using Vector = typename VectorOf<T>::Type;
  constexpr int lanes = static_cast<int>(vector_bytes / sizeof(T));
  // sum = sum * a + b has a fixed point, so the numbers stay ordinary however long it runs.
  const Vector a = Vector{} + T(0.5) * seed;
  const Vector b = Vector{} + T(0.5) * seed;
  Vector sum[sums];
  for (int i = 0; i < sums; ++i) sum[i] = Vector{} + seed + T(i) / T(64);
  for (std::size_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < sums; ++i) sum[i] = sum[i] * a + b;
#pragma GCC unroll 12
    for (int i = 0; i < sums; ++i) sum[i] = sum[i] * a + b;
  }
  Vector total = sum[0];
  for (int i = 1; i < sums; ++i) total += sum[i];
  T result = 0;
  for (int lane = 0; lane < lanes; ++lane) result += total[lane];
  *sink = result;
  return 2.0 * 2.0 * sums * lanes * static_cast<double>(rounds);
}

void read(const void* data, std::size_t bytes, std::size_t rounds, int* sink) {
  constexpr std::size_t at_once = 1024 / vector_bytes / 2;
  const Bits* const begin = static_cast<const Bits*>(data);
  const std::size_t count = bytes / vector_bytes;
  Bits seen[8] = {};
  for (std::size_t round = 0; round < rounds; ++round) {
    // The compiler must not think that it knows the data from the previous round.
    __asm__ volatile("" : : "r"(begin) : "memory");
    for (std::size_t at = 0; at < count; at += at_once) {
#pragma GCC unroll 32
      for (std::size_t i = 0; i < at_once; ++i) seen[i % 8] |= begin[at + i];
    }
  }
  Bits all{};
  for (const Bits& one : seen) all |= one;
  *sink = all[0];
}

}  // namespace

const Table& table() {
  static constexpr Table entries{&multiply_add<float>, &multiply_add<double>, &read};
  return entries;
}

}  // namespace LIMITS_ISA
}  // namespace limits
