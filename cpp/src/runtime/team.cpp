#include "team.hpp"

#include <algorithm>
#include <lstmcore/cpu.hpp>
#include <memory>
#include <string>
#include <utility>

#include "errors.hpp"
#include "float_mode.hpp"
#include "host_openmp.hpp"
#include "policy.hpp"
#include "pool.hpp"
#include "threads.hpp"
#include "waiting.hpp"

namespace lstmcore {
namespace {

/// Read and written with std::atomic_load and std::atomic_store.
std::shared_ptr<Executor> executor_in_use;
/// Whether there is one, so that calls without an executor read only this flag.
std::atomic<bool> has_executor{false};

/// A task, run in the engine's floating-point mode.
struct EngineTask {
  void (*function)(void*, int);
  void* context;
  std::atomic<int> calls{0};  ///< counted for executors only

  static void run(void* data, int index) {
    const EngineFloats floats;
    const EngineTask& task = *static_cast<const EngineTask*>(data);
    task.function(task.context, index);
  }
  static void run_counted(void* data, int index) {
    static_cast<EngineTask*>(data)->calls.fetch_add(1, std::memory_order_relaxed);
    run(data, index);
  }
};

void run_on_executor(Executor& executor, int count, EngineTask& task) {
  executor.run(count, Executor::Task(&EngineTask::run_counted, &task));
  const int calls = task.calls.load(std::memory_order_relaxed);
  if (calls == count) return;
  raise<std::logic_error>("executor: expected run to call each of " + std::to_string(count) + " tasks once, got " +
                          std::to_string(calls) + " calls; run must return after all of them");
}

}  // namespace

void set_executor(std::shared_ptr<Executor> executor) {
  const bool present = executor != nullptr;
  std::atomic_store(&executor_in_use, std::move(executor));
  has_executor.store(present, std::memory_order_release);
}

std::shared_ptr<Executor> get_executor() {
  if (!has_executor.load(std::memory_order_acquire)) return nullptr;
  return std::atomic_load(&executor_in_use);
}

std::string thread_provider() {
  if (get_executor() != nullptr) return "executor";
  const HostOpenMP* const host = host_openmp();
  return host != nullptr ? "OpenMP (" + host->path + ")" : "own pool";
}

bool teams_on_own_pool() { return get_executor() == nullptr && host_openmp() == nullptr; }

int team_limit(int wanted) {
  const std::shared_ptr<Executor> executor = get_executor();
  return executor != nullptr ? std::max(1, std::min(wanted, executor->concurrency())) : wanted;
}

bool run_team(int count, bool together, void (*function)(void*, int), void* context) {
  EngineTask task{function, context};
  if (const std::shared_ptr<Executor> executor = get_executor()) {
    if (together && executor->concurrency() < count) return false;  // it was set after the team was planned
    const CallersMode callers;
    run_on_executor(*executor, count, task);
    return true;
  }
  const Executor::Task plain(&EngineTask::run, &task);
  if (const HostOpenMP* const host = host_openmp()) {
    const CallersMode callers;
    return host->run(count, together, plain);
  }
  return run_on_pool(count, together, plain);
}

bool Gathering::decide(Verdict verdict) {
  std::uint32_t seen = open;
  if (verdict_.compare_exchange_strong(seen, verdict, std::memory_order_acq_rel)) wake_all(verdict_);
  return verdict_.load(std::memory_order_acquire) == begun;
}

bool Gathering::complete(int threads) {
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) return decide(begun);
  for (int spins = 0; spins < policy::spins_before_sleep; ++spins) {
    const std::uint32_t verdict = verdict_.load(std::memory_order_acquire);
    if (verdict != open) return verdict == begun;
    spin_pause();
  }
  const std::int64_t begin = nanoseconds();
  const std::int64_t end = begin + (parting_is_measured() ? policy::longest_gathering_nanoseconds
                                                          : policy::longest_forced_gathering_nanoseconds);
  for (std::int64_t now = begin; now < end; now = nanoseconds()) {
    sleep_while_equal(verdict_, open, end - now);
    const std::uint32_t verdict = verdict_.load(std::memory_order_acquire);
    if (verdict == open) continue;
    if (nanoseconds() - begin > policy::late_gathering_nanoseconds) count_as_crowded();
    return verdict == begun;
  }
  const bool complete = decide(given_up);
  if (!complete) count_as_crowded();
  return complete;
}

}  // namespace lstmcore
