#include "waiting.hpp"

#include <chrono>
#include <climits>

#include "policy.hpp"

// Tests define LSTMCORE_NO_FUTEX, so that what other systems run is tested on Linux too.
#if defined(__linux__) && !defined(LSTMCORE_NO_FUTEX)
#define LSTMCORE_FUTEX
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>
#else
#include <condition_variable>
#include <mutex>
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#endif

namespace lstmcore {

std::int64_t nanoseconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

#ifdef LSTMCORE_FUTEX

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t));

void sleep_while_equal(std::atomic<std::uint32_t>& word, std::uint32_t value, std::int64_t most_nanoseconds) {
  constexpr std::int64_t second = 1'000'000'000;
  const timespec limit{static_cast<time_t>(most_nanoseconds / second), static_cast<long>(most_nanoseconds % second)};
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT_PRIVATE, value,
          most_nanoseconds > 0 ? &limit : nullptr, nullptr, 0);
}

void wake_all(std::atomic<std::uint32_t>& word) {
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

#else

namespace {

/// Where threads that wait for a word sleep. Words may share one, so some threads wake up without cause.
struct Lot {
  std::mutex mutex;
  std::condition_variable changed;
};

constexpr std::size_t lot_count = 64;

/// Never destroyed: threads may sleep here while the program ends.
std::atomic<Lot*>& lots() {
  static std::atomic<Lot*> instance{new Lot[lot_count]};
  return instance;
}

#if defined(__unix__) || defined(__APPLE__)
/// A child has none of the threads that held its parent's mutexes, and would wait for them for ever.
[[maybe_unused]] const bool renewed_by_forks =
    (lots(), pthread_atfork(nullptr, nullptr, [] { lots().store(new Lot[lot_count]); })) == 0;
#endif

Lot& lot_of(const void* word) { return lots().load()[reinterpret_cast<std::uintptr_t>(word) / 64 % lot_count]; }

}  // namespace

void sleep_while_equal(std::atomic<std::uint32_t>& word, std::uint32_t value, std::int64_t most_nanoseconds) {
  Lot& lot = lot_of(&word);
  std::unique_lock<std::mutex> lock(lot.mutex);
  if (word.load(std::memory_order_acquire) != value) return;
  if (most_nanoseconds > 0) {
    lot.changed.wait_for(lock, std::chrono::nanoseconds(most_nanoseconds));
  } else {
    lot.changed.wait(lock);
  }
}

void wake_all(std::atomic<std::uint32_t>& word) {
  Lot& lot = lot_of(&word);
  {
    const std::lock_guard<std::mutex> lock(lot.mutex);
  }  // every thread that has compared the word is asleep now
  lot.changed.notify_all();
}

#endif

std::int64_t Signal::wait_past(std::uint32_t value) {
  for (int spins = 0; spins < policy::spins_before_sleep; ++spins) {
    if (word_.load(std::memory_order_acquire) != value) return 0;
    spin_pause();
  }
  const std::int64_t begin = nanoseconds();
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (word_.load(std::memory_order_acquire) == value) {
    sleep_while_equal(word_, value, policy::longest_sleep_nanoseconds);
  }
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
  return nanoseconds() - begin;
}

void Signal::advance() {
  word_.store(word_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  // A fence before this load would cost each meeting the time that the line of `word_` takes from core to core. Without
  // it, the load may miss a thread that is just falling asleep, which then wakes up by itself.
  if (sleepers_.load(std::memory_order_relaxed) > 0) wake_all(word_);
}

}  // namespace lstmcore
