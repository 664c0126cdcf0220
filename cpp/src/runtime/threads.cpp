#include "threads.hpp"

#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <thread>

#include "policy.hpp"

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

using policy::flops_per_thread;
using policy::most_threads;

#if defined(__linux__)
/// Processors that this container may use on average; `unlimited` if its control group sets no limit.
int quota(int unlimited) {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  double time = 0, period = 0;
  if (!(file >> time >> period) || time <= 0 || period <= 0) return unlimited;
  return std::max(1, static_cast<int>(std::min<double>(unlimited, time / period + 0.5)));
}
#endif

[[maybe_unused]] int processors() {
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) return quota(std::max(1, CPU_COUNT(&allowed)));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int default_threads() {
#ifdef _OPENMP
  // Of a list such as "4,2", the first number is for the outermost level of parallelism, which is ours.
  const char* const text = std::getenv("OMP_NUM_THREADS");
  const long wanted = text != nullptr ? std::strtol(text, nullptr, 10) : 0;
  const int available = processors();
  return std::min(most_threads, wanted >= 1 && wanted < available ? static_cast<int>(wanted) : available);
#else
  return 1;
#endif
}

std::atomic<int>& thread_setting() {
  static std::atomic<int> count{default_threads()};
  return count;
}

/// OpenMP's workers do not survive a fork: a child that started a team would wait for them forever.
std::atomic<bool> in_forked_child{false};

/// Registered when the library is loaded, because another library may start a team and fork before our first call.
#if defined(__unix__) || defined(__APPLE__)
[[maybe_unused]] const bool watching_forks = pthread_atfork(nullptr, nullptr, [] { in_forked_child.store(true); }) == 0;
#endif

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
  if (count < 1 || count > most_threads) {
    throw std::invalid_argument("count: expected 1 to " + std::to_string(most_threads) + " threads, got " +
                                std::to_string(count));
  }
  thread_setting().store(has_openmp() ? count : 1, std::memory_order_relaxed);
}

int threads_for(double flops) {
  const int most = get_num_threads();
  if (most == 1 || flops < 2 * flops_per_thread || in_forked_child.load(std::memory_order_relaxed)) {
    return 1;
  }
  return static_cast<int>(std::min<double>(most, flops / flops_per_thread));
}

void Barrier::wait(int threads) {
  const unsigned round = round_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
    arrived_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    return;
  }
  for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins) {
    if (spins > policy::spins_before_yield) {
      std::this_thread::yield();
    } else {
#if defined(__x86_64__) || defined(_M_X64)
      _mm_pause();
#endif
    }
  }
}

}  // namespace lstmcore
