// Waiting for another thread: spin for a while, then sleep in the kernel.
#pragma once

#include <atomic>
#include <cstdint>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#elif defined(_M_ARM64) && !defined(__clang__)
#include <intrin.h>
#endif

namespace lstmcore {

/// The time of the steady clock.
std::int64_t nanoseconds();

/// Tells the processor that the thread spins.
inline void spin_pause() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("isb" ::: "memory");
#elif defined(_M_ARM64)
  __isb(_ARM64_BARRIER_SY);
#endif
}

/// Sleeps until `wake_all`, at most this long (0: without a limit); returns at once if `word` has another value. May
/// also wake up without cause.
void sleep_while_equal(std::atomic<std::uint32_t>& word, std::uint32_t value, std::int64_t most_nanoseconds);
void wake_all(std::atomic<std::uint32_t>& word);

/// A counter that threads watch, waiting for its next value.
class Signal {
 public:
  std::uint32_t value() const { return word_.load(std::memory_order_acquire); }

  /// Waits until the counter no longer has this value. Returns how many nanoseconds of that the thread slept.
  std::int64_t wait_past(std::uint32_t value);

  /// Increments the counter and wakes the threads that sleep. Only one thread may call it at a time.
  void advance();

 private:
  std::atomic<std::uint32_t> word_{0};
  std::atomic<int> sleepers_{0};
};

}  // namespace lstmcore
