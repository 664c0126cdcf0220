// Ranges of elements or rows, shared among threads.
#pragma once

#include "../runtime/policy.hpp"
#include "../runtime/threads.hpp"

namespace lstmcore::ops {

/// Elements of one cache line: ranges that start at multiples of it share no line.
template <class T>
constexpr std::int64_t line_elements = static_cast<std::int64_t>(64 / sizeof(T));

/// Calls body(begin, size) for ranges that together cover 0 .. count - 1 and begin at multiples of `multiple`. `cost`
/// is that of an element, as in policy::cost.
template <class Body>
void parallel_ranges(std::int64_t count, double cost, std::int64_t multiple, Body&& body) {
  const int threads = threads_for(static_cast<double>(count) * cost);
  parallel(threads, [&](int thread) {
    const Range range = split(count, threads, thread, multiple);
    if (range.size() > 0) body(range.begin, range.size());
  });
}

}  // namespace lstmcore::ops
