// Threads: how many a piece of work deserves, and running it on them.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <lstmcore/cpu.hpp>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace lstmcore {

struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t size() const { return end - begin; }
};

/// Part `part` of `count` items cut into `parts` nearly equal ranges at multiples of `multiple`.
inline Range split(std::int64_t count, int parts, int part, std::int64_t multiple = 1) {
  const std::int64_t units = (count + multiple - 1) / multiple;
  const auto border = [&](std::int64_t index) { return std::min(count, units * index / parts * multiple); };
  return {border(part), border(part + 1)};
}

/// Threads for work of about this many floating-point operations: work too small to repay a team's start stays on the
/// caller's thread. Never more than `get_num_threads()`.
int threads_for(double flops);

/// Carries the first exception out of a team, whose threads must not let one escape.
class FirstError {
 public:
  template <class Body>
  void guard(Body&& body) noexcept {
    try {
      body();
    } catch (...) {
      if (!taken_.exchange(true)) error_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::atomic<bool> taken_{false};
  std::exception_ptr error_;
};

/// Calls body(index) for index 0..threads-1, on as many threads as the system gives; indices must not wait for each
/// other. The first exception of any of them is thrown when all have ended.
template <class Body>
void parallel(int threads, Body&& body) {
#ifdef _OPENMP
  if (threads > 1) {
    FirstError error;
#pragma omp parallel num_threads(threads)
    error.guard([&] {
      for (int index = omp_get_thread_num(); index < threads; index += omp_get_num_threads()) body(index);
    });
    error.rethrow();
    return;
  }
#endif
  for (int index = 0; index < threads; ++index) body(index);
}

/// Like `parallel`, but the indices run at the same time, so that they may meet at a barrier; `body` must not throw,
/// for the others would wait for ever. Returns false, without calling `body`, if the system does not give that many
/// threads (as inside another parallel region).
template <class Body>
bool parallel_together(int threads, Body&& body) {
  if (threads == 1) {
    body(0);
    return true;
  }
#ifdef _OPENMP
  std::atomic<bool> together{false};
#pragma omp parallel num_threads(threads)
  if (omp_get_num_threads() == threads) {
    together.store(true, std::memory_order_relaxed);
    body(omp_get_thread_num());
  }
  return together.load(std::memory_order_relaxed);
#else
  return false;
#endif
}

/// Where the threads of a team meet once per step. Spins, because a step lasts microseconds; after a while it lets
/// other threads run, so that a machine with more threads than processors still moves on.
class Barrier {
 public:
  /// How many threads meet here; to be said before the first of them waits.
  void expect(int threads) { threads_ = threads; }
  void wait();

 private:
  int threads_ = 1;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> round_{0};
};

}  // namespace lstmcore
