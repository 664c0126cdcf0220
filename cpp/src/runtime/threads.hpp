// Teams of threads: how many a computation deserves, and running it on them.
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

/// Threads for work of about this many floating-point operations, at most `get_num_threads()`. Work too small to repay
/// the start of a team stays on the caller's thread.
int threads_for(double flops);

/// Carries the first exception out of a team: an exception must not leave an OpenMP thread.
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

/// Calls body(index) for index 0..threads-1, on as many threads as the system provides. One call must not wait for
/// another. If calls throw, the first exception is rethrown after all of them have ended.
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

/// Where the threads of a team wait for each other. It spins, because the work between two meetings lasts microseconds,
/// and lets other threads run after a while, so that a machine with more threads than processors makes progress.
class Barrier {
 public:
  /// Returns when `threads` threads have called it.
  void wait(int threads);

 private:
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> round_{0};
};

/// Work in phases, each of which begins when the one before has ended: calls body(phase, task, thread) for the tasks 0
/// .. count(phase) - 1 of every phase. In a team of n threads, thread i takes task i first. The first n tasks therefore
/// run at the same time and may wait for each other; any further task goes to the next thread that is free. Returns
/// false, without calling anything, if the system does not provide `threads` threads (as inside another parallel
/// region). `body` must not throw.
template <class Count, class Body>
bool parallel_phases(int threads, std::int64_t phases, Count&& count, Body&& body) {
  if (threads == 1) {
    for (std::int64_t phase = 0; phase < phases; ++phase) {
      const std::int64_t tasks = count(phase);
      for (std::int64_t task = 0; task < tasks; ++task) body(phase, task, 0);
    }
    return true;
  }
#ifdef _OPENMP
  std::atomic<bool> together{false};
  alignas(64) std::atomic<std::int64_t> taken{0};  // tasks beyond the first n of a phase, over all phases so far
  Barrier meeting;
#pragma omp parallel num_threads(threads)
  if (omp_get_num_threads() == threads) {
    together.store(true, std::memory_order_relaxed);
    const int thread = omp_get_thread_num();
    std::int64_t begin = 0;
    for (std::int64_t phase = 0; phase < phases; ++phase) {
      const std::int64_t tasks = count(phase);
      if (thread < tasks) body(phase, std::int64_t{thread}, thread);
      const std::int64_t end = begin + std::max<std::int64_t>(0, tasks - threads);
      for (std::int64_t next = taken.load(std::memory_order_relaxed); next < end;) {
        if (!taken.compare_exchange_weak(next, next + 1, std::memory_order_relaxed)) continue;
        body(phase, threads + next - begin, thread);
        next = taken.load(std::memory_order_relaxed);
      }
      begin = end;
      if (phase + 1 < phases) meeting.wait(threads);
    }
  }
  return together.load(std::memory_order_relaxed);
#else
  return false;
#endif
}

}  // namespace lstmcore
