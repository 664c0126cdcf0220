// The engine's own pool of threads.
#pragma once

#include <lstmcore/executor.hpp>

namespace lstmcore {

/// Runs task(index) for 0 .. count - 1 on the caller's thread and idle threads of the pool, which grows to the size
/// that calls ask for. Index i goes to the same thread in every call if that thread is idle, because its caches hold
/// what it read last time. When the caller has finished its own task, it takes back every task that no thread has begun
/// and runs it itself: it never waits for a thread that has not begun.
///
/// With `together`, all tasks run at the same time, each on a thread of its own; returns false, without calling any, if
/// too few threads are idle.
bool run_on_pool(int count, bool together, const Executor::Task& task);

/// Ends the threads of the pool; the next team starts new ones. No team may be running, except where the program ends.
void end_pool_threads();

}  // namespace lstmcore
