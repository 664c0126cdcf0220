// Giving the GIL up for the time that the engine works, and getting it back quickly.
#pragma once

#include <Python.h>

#include <atomic>
#include <chrono>
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace lstmcore::bindings {

/// Runs a scope without the GIL, as pybind11's gil_scoped_release does.
///
/// Many small models in several Python threads hold the GIL for some microseconds between two calls. A thread that
/// comes back meanwhile would be put to sleep by CPython, and waking it costs more than such a call. So it first waits
/// awake, for a short while, for as long as the GIL is with a thread that came back from the engine and has not left
/// for it again.
class WithoutGil {
 public:
  WithoutGil() {
    // Whoever stands there does not hold the GIL any more: this thread does.
    PyThreadState* seen = holder().load(std::memory_order_relaxed);
    thread_ = PyEval_SaveThread();
    // Another thread may already have taken over: then its name stays.
    if (seen != nullptr) {
      holder().compare_exchange_strong(seen, nullptr, std::memory_order_release, std::memory_order_relaxed);
    }
  }

  ~WithoutGil() {
    if (holder().load(std::memory_order_acquire) != nullptr) wait_awake();
    PyEval_RestoreThread(thread_);
    holder().store(thread_, std::memory_order_release);
  }

  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  /// The thread that last came back from the engine, until it leaves for it again. It may have lost the GIL meanwhile,
  /// or have ended: it is compared, never followed.
  static std::atomic<PyThreadState*>& holder() {
    static std::atomic<PyThreadState*> thread{nullptr};
    return thread;
  }

  static void wait_awake() {
    using Clock = std::chrono::steady_clock;
    // About what it costs to be put to sleep and woken: waiting longer could lose more than it wins.
    const Clock::time_point end = Clock::now() + std::chrono::microseconds(50);
    do {
      for (int pause = 0; pause < 16; ++pause) {
        if (holder().load(std::memory_order_acquire) == nullptr) return;
#if defined(__x86_64__) || defined(_M_X64)
        _mm_pause();
#endif
      }
    } while (Clock::now() < end);
  }

  PyThreadState* thread_ = nullptr;
};

}  // namespace lstmcore::bindings
