// What a machine can do at best: multiply-adds in registers, and reads. Compiled once per instruction set.
#pragma once

#include <cstddef>

namespace limits {

/// Multiply-adds of `rounds` rounds; returns floating-point operations done. `seed` keeps the compiler from knowing the
/// result, `sink` from dropping it.
template <class T>
using MultiplyAdd = double (*)(std::size_t rounds, T seed, T* sink);

/// Reads `bytes` bytes from `data` `rounds` times. `bytes` is a multiple of 1024, `data` aligned to 64.
using Read = void (*)(const void* data, std::size_t bytes, std::size_t rounds, int* sink);

struct Table {
  MultiplyAdd<float> f32;
  MultiplyAdd<double> f64;
  Read read;
};

namespace baseline {
const Table& table();
}
#ifdef LIMITS_X86
namespace avx2 {
const Table& table();
}
namespace avx512 {
const Table& table();
}
#endif

}  // namespace limits
