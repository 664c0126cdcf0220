#include "pool.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <utility>

#include "errors.hpp"
#include "policy.hpp"
#include "waiting.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace lstmcore {
namespace {

/// A team: what its members run. Lives on the stack of its caller, which returns after all members have finished.
struct Team {
  const Executor::Task& task;
  const int count;
  std::atomic<int> next;  ///< the next task, after the first of each member
  void run_rest() {
    for (int index = next.fetch_add(1); index < count; index = next.fetch_add(1)) task(index);
  }
};

/// One thread of the pool. A caller that claims it may offer it a task, and owns it until that task has ended.
class alignas(64) Worker {
 public:
  /// Throws std::system_error if the system cannot create a thread.
  void start() {
    thread_ = std::thread([this] { serve(); });
  }

  /// Takes possession of the thread; false if it is not idle.
  bool claim() {
    std::uint32_t seen = state_.load(std::memory_order_relaxed);
    while (seen == awake || seen == asleep) {
      if (!state_.compare_exchange_weak(seen, claimed, std::memory_order_acquire)) continue;
      was_asleep_ = seen == asleep;
      return true;
    }
    return false;
  }
  void release() { state_.store(was_asleep_ ? asleep : awake, std::memory_order_release); }

  /// Asks the claimed thread to take a task of a team. Returns a ticket.
  std::uint32_t offer(Team& team, int index) {
    team_ = &team;
    index_ = index;
    const std::uint32_t ticket = begun_;
    const bool wake = was_asleep_;  // once the offer is made, the thread may finish and be claimed by another caller
    state_.store(offer_of(ticket), std::memory_order_release);
    if (wake) wake_all(state_);
    return ticket;
  }
  /// True if the thread has not begun the task, and now never will.
  bool withdraw(std::uint32_t ticket) {
    std::uint32_t seen = offer_of(ticket);
    return state_.compare_exchange_strong(seen, awake, std::memory_order_relaxed);
  }
  /// Waits until the task has ended. The end of the task before it may not have been counted when it was offered.
  void join(std::uint32_t ticket) {
    finished_.wait_past(ticket - 1);
    finished_.wait_past(ticket);
  }

  /// Ends the thread once it is idle. A thread that works on for a while is left alone: a program may end in the middle
  /// of a call, by `exit` in a signal handler, and then no task that waits for the caller ever ends.
  void end() {
    const std::int64_t limit = nanoseconds() + policy::longest_ending_nanoseconds;
    while (!claim()) {
      if (nanoseconds() > limit) return;
      std::this_thread::yield();
    }
    state_.store(gone, std::memory_order_release);
    wake_all(state_);
    thread_.join();
  }

 private:
  /// An offer also holds its ticket, above these bits, since other offers may follow before its caller checks again.
  enum State : std::uint32_t { awake, asleep, claimed, busy, gone, offered, state_bits = 7 };
  static std::uint32_t offer_of(std::uint32_t ticket) { return offered + (ticket << 3); }

  void serve() {
    for (bool closely = true;;) {
      const std::int64_t idle_since = nanoseconds();
      std::uint32_t offer = wait_for_offer(closely ? idle_since + policy::longest_idle_spin_nanoseconds : 0);
      if (offer == gone) return;
      closely = nanoseconds() - idle_since < policy::longest_idle_spin_nanoseconds;
      if (!state_.compare_exchange_strong(offer, busy, std::memory_order_acquire)) continue;  // withdrawn
      ++begun_;
      team_->task(index_);
      team_->run_rest();
      // In this order, so that the caller's next team finds the thread idle. Another caller may make an offer in
      // between.
      state_.store(awake, std::memory_order_release);
      finished_.advance();
    }
  }

  /// Waits for an offer, or for the end of the pool, and returns that state. Spins until `spin_until`, then sleeps.
  std::uint32_t wait_for_offer(std::int64_t spin_until) {
    for (;;) {
      for (int spins = 0; spins < 32; ++spins) {
        const std::uint32_t state = state_.load(std::memory_order_relaxed);
        if (state == gone || (state & state_bits) == offered) return state;
        spin_pause();
      }
      if (nanoseconds() < spin_until) continue;
      std::uint32_t seen = awake;
      if (!state_.compare_exchange_strong(seen, asleep, std::memory_order_relaxed) && seen != asleep) continue;
      while (state_.load(std::memory_order_relaxed) == asleep) sleep_while_equal(state_, asleep, 0);
    }
  }

  std::atomic<std::uint32_t> state_{awake};
  bool was_asleep_ = false;
  Team* team_ = nullptr;
  int index_ = 0;
  std::uint32_t begun_ = 0;      ///< tasks; changed while `busy`, read while `claimed`
  alignas(64) Signal finished_;  ///< tasks
  std::thread thread_;
};

/// A started thread; null if the system cannot create one.
std::unique_ptr<Worker> started_worker() {
  std::unique_ptr<Worker> worker;
  const bool started = succeeds([&] {
    worker = std::make_unique<Worker>();
    worker->start();
  });
  return started ? std::move(worker) : nullptr;
}

struct Member {
  Worker* worker;
  std::uint32_t ticket;
};

class Pool {
 public:
  bool run(int count, bool together, const Executor::Task& task) {
    grow(count - 1);
    std::array<Member, policy::most_threads> members;
    const int helpers = claim(count - 1, members.data());
    if (together && helpers < count - 1) {
      for (int helper = 0; helper < helpers; ++helper) members[static_cast<std::size_t>(helper)].worker->release();
      return false;
    }
    Team team{task, count, {helpers + 1}};
    for (int helper = 0; helper < helpers; ++helper) {
      Member& member = members[static_cast<std::size_t>(helper)];
      member.ticket = member.worker->offer(team, helper + 1);
    }
    task(0);
    team.run_rest();
    for (int helper = 0; helper < helpers; ++helper) {
      Member& member = members[static_cast<std::size_t>(helper)];
      if (!member.worker->withdraw(member.ticket)) continue;
      member.worker = nullptr;
      task(helper + 1);
    }
    for (int helper = 0; helper < helpers; ++helper) {
      const Member& member = members[static_cast<std::size_t>(helper)];
      if (member.worker != nullptr) member.worker->join(member.ticket);
    }
    return true;
  }

  void end() {
    while (growing_.exchange(true, std::memory_order_acquire)) std::this_thread::yield();  // and never grows again
    const int size = size_.exchange(0);
    for (int index = 0; index < size; ++index) workers_[static_cast<std::size_t>(index)]->end();
  }

  Pool* before = nullptr;  ///< a pool that ended; stored because a thread may still read it

 private:
  /// Grows the pool to this size, unless another thread is growing it or the system cannot create more threads.
  void grow(int wanted) {
    wanted = std::min(wanted, policy::most_threads - 1);
    if (size_.load(std::memory_order_relaxed) >= wanted || growing_.exchange(true, std::memory_order_acquire)) return;
    for (int size = size_.load(std::memory_order_relaxed); size < wanted; ++size) {
      std::unique_ptr<Worker> worker = started_worker();
      if (worker == nullptr) break;
      workers_[static_cast<std::size_t>(size)] = std::move(worker);
      size_.store(size + 1, std::memory_order_release);
    }
    growing_.store(false, std::memory_order_release);
  }

  int claim(int wanted, Member* members) {
    const int size = size_.load(std::memory_order_acquire);
    int found = 0;
    for (int index = 0; index < size && found < wanted; ++index) {
      Worker* const worker = workers_[static_cast<std::size_t>(index)].get();
      if (worker->claim()) members[found++].worker = worker;
    }
    return found;
  }

  std::array<std::unique_ptr<Worker>, policy::most_threads - 1> workers_;
  std::atomic<int> size_{0};
  std::atomic<bool> growing_{false};
};

/// The pool in use, and those that ended: never destroyed, since a thread may use one while the program ends.
std::atomic<Pool*> in_use{nullptr}, ended{nullptr};

Pool& pool() {
  Pool* current = in_use.load(std::memory_order_acquire);
  if (current != nullptr) return *current;
  auto made = std::make_unique<Pool>();
  if (in_use.compare_exchange_strong(current, made.get(), std::memory_order_acq_rel)) return *made.release();
  return *current;
}

Pool* retire() {
  Pool* const pool = in_use.exchange(nullptr, std::memory_order_acq_rel);
  if (pool == nullptr) return nullptr;
  pool->before = ended.load(std::memory_order_relaxed);
  while (!ended.compare_exchange_weak(pool->before, pool, std::memory_order_relaxed)) continue;
  return pool;
}

/// Threads do not survive a fork: the child makes a pool of its own.
#if defined(__unix__) || defined(__APPLE__)
[[maybe_unused]] const bool retired_by_forks = pthread_atfork(nullptr, nullptr, [] { retire(); }) == 0;
#endif

/// A program may unload the library, whose code the threads run. (Windows ends threads before this, and must not wait
/// for any while it unloads.)
#if !defined(_WIN32)
struct AtUnload {
  ~AtUnload() { end_pool_threads(); }
} at_unload;
#endif

}  // namespace

bool run_on_pool(int count, bool together, const Executor::Task& task) { return pool().run(count, together, task); }

void end_pool_threads() {
  if (Pool* const pool = retire()) pool->end();
}

}  // namespace lstmcore
