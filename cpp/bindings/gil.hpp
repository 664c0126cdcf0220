// Releases the GIL while the engine computes, and gets it back quickly.
#pragma once

#include <Python.h>

#include <atomic>
#include <chrono>
#include <thread>
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace lstmcore::bindings {

/// Runs a scope without the GIL, as pybind11's gil_scoped_release does.
///
/// Several Python threads that run many small models hold the GIL for a few microseconds between two calls. CPython
/// would put a thread that returns from the engine meanwhile to sleep, and waking it takes longer than such a call. So
/// the thread first spins for a short while, as long as the GIL is held by a thread that returned from the engine and
/// has not entered it again.
class WithoutGil {
 public:
  WithoutGil() {
    // Whatever thread is recorded as the holder no longer is: this thread holds the GIL.
    PyThreadState* seen = holder().load(std::memory_order_relaxed);
    thread_ = PyEval_SaveThread();
    // Unless another thread has taken the GIL and recorded itself meanwhile.
    if (seen != nullptr) {
      holder().compare_exchange_strong(seen, nullptr, std::memory_order_release, std::memory_order_relaxed);
    }
  }

  ~WithoutGil() {
    if (holder().load(std::memory_order_acquire) != nullptr) spin();
    // Before 3.14, CPython ends a daemon thread that asks for the GIL once the interpreter ends. Where that unwinds the
    // thread's stack, it would not get past a destructor, and the process would abort instead of ending.
    try {
      PyEval_RestoreThread(thread_);
    } catch (...) {
      for (;;) std::this_thread::sleep_for(std::chrono::hours(1));  // as CPython 3.14 does
    }
    holder().store(thread_, std::memory_order_release);
  }

  /// Calls body() with the GIL, in the middle of the scope.
  template <class Body>
  void with_gil(Body&& body) {
    PyEval_RestoreThread(thread_);
    body();
    PyEval_SaveThread();
  }

  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  /// The thread that last returned from the engine, until it enters the engine again. It may have lost the GIL or ended
  /// since, so the pointer is only compared, never dereferenced.
  static std::atomic<PyThreadState*>& holder() {
    static std::atomic<PyThreadState*> thread{nullptr};
    return thread;
  }

  static void spin() {
    using Clock = std::chrono::steady_clock;
    // About the cost of being put to sleep and woken: spinning longer could lose more than it saves.
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

/// Calls body() without the GIL and returns what it returns.
template <class Body>
auto without_gil(Body&& body) {
  const WithoutGil released;
  return body();
}

}  // namespace lstmcore::bindings
