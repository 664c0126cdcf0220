// The engine's own pool of threads.
#pragma once

#include <lstmcore/executor.hpp>

namespace lstmcore {

/// Runs task(index) for 0 .. count - 1 on the caller's thread and idle threads of the pool, which is made as large as
/// calls ask for. Index i goes to the same thread in every call, as far as it is idle, because its caches hold what it
/// read last time. What no thread has begun when the caller is done with its own task, the caller takes back and does
/// itself: it never waits for a thread that the system does not run.
///
/// With `together`, all tasks run at the same time, each on a thread of its own; returns false, without calling any, if
/// too few threads are idle.
bool run_on_pool(int count, bool together, const Executor::Task& task);

/// Ends the threads of the pool; the next team starts new ones. No team may be running, except where the program ends.
void end_pool_threads();

}  // namespace lstmcore
