#include "threads.hpp"

#include <cstdlib>
#include <stdexcept>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace lstmcore {
namespace {

/// Below this much work per thread a team's start and end would show.
constexpr double flops_per_thread = 4e5;

int processors() {
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) return std::max(1, CPU_COUNT(&allowed));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int default_threads() {
#ifdef _OPENMP
  // The first number of a list such as "4,2" is the outermost level's, which is ours.
  const char* const text = std::getenv("OMP_NUM_THREADS");
  const long wanted = text != nullptr ? std::strtol(text, nullptr, 10) : 0;
  const int available = processors();
  return wanted >= 1 && wanted < available ? static_cast<int>(wanted) : available;
#else
  return 1;
#endif
}

std::atomic<int>& thread_setting() {
  static std::atomic<int> count{default_threads()};
  return count;
}

/// OpenMP's workers do not survive a fork: a child that asks for a team would wait for them for ever.
std::atomic<bool> in_forked_child{false};

bool watch_forks() {
#if defined(__unix__) || defined(__APPLE__)
  return pthread_atfork(nullptr, nullptr, [] { in_forked_child.store(true); }) == 0;
#else
  return true;
#endif
}

}  // namespace

bool has_openmp() {
#ifdef _OPENMP
  return true;
#else
  return false;
#endif
}

int get_num_threads() { return thread_setting().load(std::memory_order_relaxed); }

void set_num_threads(int count) {
  if (count < 1) {
    throw std::invalid_argument("set_num_threads: count must be at least 1, got " + std::to_string(count));
  }
  thread_setting().store(has_openmp() ? count : 1, std::memory_order_relaxed);
}

int threads_for(double flops) {
  static const bool watching = watch_forks();
  const int most = get_num_threads();
  if (most == 1 || flops < 2 * flops_per_thread || !watching || in_forked_child.load(std::memory_order_relaxed)) {
    return 1;
  }
  return static_cast<int>(std::min<double>(most, flops / flops_per_thread));
}

void Barrier::wait() {
  const unsigned round = round_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
    arrived_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    return;
  }
  for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins) {
    if (spins > 4000) {
      std::this_thread::yield();
    } else {
#if defined(__x86_64__) || defined(_M_X64)
      _mm_pause();
#endif
    }
  }
}

}  // namespace lstmcore
