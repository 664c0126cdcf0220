// Where the tasks of a team run: on the caller's executor, the program's OpenMP runtime, or the engine's own pool.
#pragma once

#include <atomic>
#include <cstdint>
#include <lstmcore/executor.hpp>
#include <type_traits>

namespace lstmcore {

/// Threads that a team can have: `wanted`, or the `concurrency()` of the caller's executor if that is less.
int team_limit(int wanted);

/// Whether the engine's own pool would run a team now.
bool teams_on_own_pool();

/// Calls function(context, index) for each index from 0 to count - 1, in the engine's floating-point mode, and returns
/// after all calls. With `together`, all run at the same time, as far as can be known in advance; returns false,
/// without calling any, if that is impossible (as inside another parallel region). Throws std::logic_error if an
/// executor calls a task twice or not at all.
bool run_team(int count, bool together, void (*function)(void*, int), void* context);

template <class Task>
bool run_team(int count, bool together, Task& task) {
  return run_team(count, together, [](void* context, int index) { (*static_cast<Task*>(context))(index); }, &task);
}

/// Where tasks that will wait for each other gather before they begin. If some do not arrive in time, because an
/// executor runs fewer tasks at once than it promised, or because the system does not run their threads, all are told
/// not to begin, also those that arrive later.
class Gathering {
 public:
  /// True for all `threads` tasks, or for none.
  bool complete(int threads);

 private:
  enum Verdict : std::uint32_t { open, begun, given_up };
  bool decide(Verdict verdict);

  std::atomic<int> arrived_{0};
  std::atomic<std::uint32_t> verdict_{open};
};

}  // namespace lstmcore
