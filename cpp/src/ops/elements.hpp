// Ranges of elements or rows, shared among threads and computed in pieces, between which a call can be ended.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../runtime/interrupt.hpp"
#include "../runtime/policy.hpp"
#include "../runtime/threads.hpp"

namespace lstmcore::ops {

/// Elements of one cache line: ranges that start at multiples of it share no line.
template <class T>
constexpr std::int64_t line_elements = static_cast<std::int64_t>(64 / sizeof(T));

/// Calls body(begin, count) for one piece of a range after the other, which begin at multiples of `multiple` from its
/// begin on. `cost` is that of an element, as in policy::cost. Returns false, without the rest, once the call is to
/// end. What nobody can stop is one piece.
template <class Body>
bool in_pieces(const InterruptWatch& watch, Range range, double cost, std::int64_t multiple, Body&& body) {
  if (!watch.stoppable()) {
    if (range.size() > 0) body(range.begin, range.size());
    return true;
  }
  const double multiples = policy::flops_per_look / (cost * static_cast<double>(multiple));
  const std::int64_t all = range.size() / multiple;
  const std::int64_t piece = multiple * (static_cast<std::int64_t>(std::min(multiples, static_cast<double>(all))) + 1);
  for (std::int64_t begin = range.begin; begin < range.end; begin += piece) {
    if (watch.stopped()) return false;
    body(begin, std::min(piece, range.end - begin));
  }
  return true;
}

/// parallel(), for a call that can be ended: calls body(thread, watch) for 0 .. threads - 1. After all of them have
/// ended, it throws what the caller answered to end the call, if that has stopped them.
template <class Body>
void parallel_watched(int threads, Body&& body) {
  Interruptible* const call = InterruptWatch::of_thread();
  FirstError error;
  parallel(threads, [&](int thread) { error.guard([&] { body(thread, InterruptWatch(call)); }); });
  if (call != nullptr) InterruptWatch::end_if_stopped();  // first, so that it does not end the next call
  error.rethrow();
}

/// Calls body(range, watch), once on each thread, for ranges that together cover 0 .. count - 1 and begin at multiples
/// of `multiple`. `cost` is that of an element, as in policy::cost. Throws as parallel_watched does.
template <class Body>
void parallel_shares(std::int64_t count, double cost, std::int64_t multiple, Body&& body) {
  const int threads = threads_for(static_cast<double>(count) * cost);
  parallel_watched(threads, [&](int thread, const InterruptWatch& watch) {
    const Range range = split(count, threads, thread, multiple);
    if (range.size() > 0) body(range, watch);
  });
}

/// The same in pieces: calls body(begin, size) for ranges that together cover 0 .. count - 1.
template <class Body>
void parallel_ranges(std::int64_t count, double cost, std::int64_t multiple, Body&& body) {
  parallel_shares(count, cost, multiple,
                  [&](Range range, const InterruptWatch& watch) { in_pieces(watch, range, cost, multiple, body); });
}

}  // namespace lstmcore::ops
