// Teams of threads: how many threads a computation gets, and how it runs on them.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <lstmcore/cpu.hpp>
#include <type_traits>

#include "float_mode.hpp"
#include "interrupt.hpp"
#include "team.hpp"
#include "waiting.hpp"

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
#ifdef LSTMCORE_NO_EXCEPTIONS
    body();  // an error in it ends the program
#else
    try {
      body();
    } catch (...) {
      if (!taken_.exchange(true)) error_ = std::current_exception();
    }
#endif
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
  if (threads <= 1) {
    if (threads == 1) body(0);
    return;
  }
  FirstError error;
  auto task = [&](int index) { error.guard([&] { body(index); }); };
  run_team(threads, false, task);
  error.rethrow();
}

/// Calls body(task, thread) for 0 .. tasks - 1, which do not wait for each other. Thread i of a team takes task i
/// first; any further task goes to the next thread that is free. `body` must not throw.
template <class Body>
void parallel_tasks(int threads, std::int64_t tasks, Body&& body) {
  if (threads == 1) {
    for (std::int64_t task = 0; task < tasks; ++task) body(task, 0);
    return;
  }
  std::atomic<std::int64_t> next{threads};
  auto task_of_thread = [&](int thread) {
    if (thread < tasks) body(std::int64_t{thread}, thread);
    for (std::int64_t task = next.fetch_add(1); task < tasks; task = next.fetch_add(1)) body(task, thread);
  };
  run_team(threads, false, task_of_thread);
}

/// Where the threads of a team wait for each other. It spins first, because the work between two meetings lasts
/// microseconds, and then sleeps, so that a thread that is not running finds a free processor.
class Barrier {
 public:
  /// Waits until `threads` threads have called it; returns for how many nanoseconds of that time it slept.
  std::int64_t wait(int threads) {
    return wait(threads, [] {});  // nothing to do for the last
  }

  /// The same; the last thread to arrive calls `last` before the others go on.
  template <class Last>
  std::int64_t wait(int threads, Last&& last) {
    const std::uint32_t round = round_.value();
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 < threads) return round_.wait_past(round);
    last();
    arrived_.store(0, std::memory_order_relaxed);
    round_.advance();
    return 0;
  }

 private:
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) Signal round_;
};

/// How long a meeting of threads takes, as last measured; 0 if that was too long ago.
std::int64_t meeting_nanoseconds();

/// A barrier for threads that meet at every step. Where a meeting takes too long, or the cores are crowded, so that
/// they wait for each other more than they work, it advises them to part: one of them then does the rest.
class StepBarrier {
 public:
  /// Measures what a meeting takes, if that is not known, and advises the threads to part if it is more than `most`
  /// nanoseconds. All threads call it, before they first wait.
  void measure(int threads, std::int64_t most);
  /// Once the call has been stopped, the threads are to part as well; null: nobody can stop it.
  void wait(int threads, const Interruptible* call = nullptr);
  /// Whether the threads should part. Between two meetings, all of them get the same answer.
  bool parted() const { return parted_.load(std::memory_order_relaxed); }

 private:
  Barrier barrier_;
  const std::int64_t begin_ = nanoseconds();
  bool to_measure_ = meeting_nanoseconds() == 0;
  std::int64_t round_begin_ = 0, shortest_round_ = 0;  ///< written by the last to arrive
  int meetings_ = 0;                                   ///< counted by the last to arrive
  std::atomic<std::int64_t> late_{0};                  ///< nanoseconds that threads slept here
  std::atomic<bool> parted_{false};
};

/// Whether threads have lately had to part, so that teams that meet at every step should not be tried.
bool crowded();
/// Records that a team had to part, or never gathered.
void count_as_crowded();

/// For tests: threads part after this many meetings, however long they wait; with `part_at_once`, before the first
/// step. With `measured_parting`, the waits decide.
constexpr int measured_parting = -1, part_at_once = -2, never_part = 1 << 30;
void part_after(int meetings);
bool parting_is_measured();

/// Work in phases, each of which begins when the one before has ended: calls body(phase, task, thread) for the tasks 0
/// .. count(phase) - 1 of every phase. In a team of n threads, thread i takes task i first. The first n tasks therefore
/// run at the same time and may wait for each other; any further task goes to the next thread that is free. Returns
/// false, without calling anything, if the system does not provide `threads` threads (as inside another parallel
/// region). `body` must not throw. With a StepBarrier, which is for phases whose tasks do not wait for each other, the
/// caller's thread does the rest alone if the threads should part.
template <class Meeting = Barrier, class Count, class Body>
bool parallel_phases(int threads, std::int64_t phases, Count&& count, Body&& body) {
  if (threads == 1) {
    for (std::int64_t phase = 0; phase < phases; ++phase) {
      const std::int64_t tasks = count(phase);
      for (std::int64_t task = 0; task < tasks; ++task) body(phase, task, 0);
    }
    return true;
  }
  alignas(64) std::atomic<std::int64_t> taken{0};  // tasks beyond the first n of a phase, over all phases so far
  Meeting meeting;
  Gathering gathering;
  std::atomic<bool> begun{false};
  auto task_of_thread = [&](int thread) {
    if (!gathering.complete(threads)) return;
    begun.store(true, std::memory_order_relaxed);
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
      if constexpr (std::is_same_v<Meeting, StepBarrier>) {
        if (!meeting.parted()) continue;
        for (++phase; thread == 0 && phase < phases; ++phase) {
          for (std::int64_t task = 0; task < count(phase); ++task) body(phase, task, 0);
        }
        break;
      }
    }
  };
  return run_team(threads, true, task_of_thread) && begun.load(std::memory_order_relaxed);
}

}  // namespace lstmcore
