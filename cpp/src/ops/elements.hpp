// Flat arrays cut into ranges for threads.
#pragma once

#include "../runtime/policy.hpp"
#include "../runtime/threads.hpp"

namespace lstmcore::ops {

/// Elements of one cache line: ranges that start at multiples of it share no line.
template <class T>
constexpr std::int64_t line_elements = static_cast<std::int64_t>(64 / sizeof(T));

/// Calls body(begin, count) for ranges that cover 0..count. `cost` is in floating-point operations an element; what
/// mostly waits for memory costs some tens of them.
template <class Body>
void parallel_ranges(std::int64_t count, double cost, std::int64_t multiple, Body&& body) {
  const int threads = threads_for(static_cast<double>(count) * cost);
  parallel(threads, [&](int thread) {
    const Range range = split(count, threads, thread, multiple);
    if (range.size() > 0) body(range.begin, range.size());
  });
}

}  // namespace lstmcore::ops
