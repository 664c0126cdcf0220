// Running the engine's teams of threads on threads of yours.
#pragma once

#include <memory>

namespace lstmcore {

/// Runs the tasks of the engine's teams, for example on the thread pool of your program, so that two pools do not
/// compete for the processors. `concurrency` and `run` may be called from any thread that calls the engine, at the same
/// time.
class Executor {
 public:
  /// One task of a team: call it with an index. It does not throw.
  class Task {
   public:
    Task(void (*function)(void*, int), void* context) : function_(function), context_(context) {}
    void operator()(int index) const { function_(context_, index); }

   private:
    void (*function_)(void*, int);
    void* context_;
  };

  virtual ~Executor() = default;

  /// How many tasks of one `run` can run at the same time, the one on the caller's thread included; at least 1. A call
  /// never uses more threads than this. It is a promise: tasks of an LSTM with few rows wait for each other at every
  /// step. If they do not begin within some milliseconds, the engine withdraws them and works on the caller's thread,
  /// so that a broken promise costs time but never hangs.
  virtual int concurrency() const = 0;

  /// Calls task(index) exactly once for each index from 0 to count - 1, on any threads, and returns after all of these
  /// calls have returned. One of the calls should be made on the caller's thread. If threads of the pool themselves
  /// call the engine, `run` must not wait idly for tasks that only they could begin. `count` may exceed `concurrency`;
  /// then tasks do not wait for each other. May throw only while no task is running or will run.
  virtual void run(int count, const Task& task) = 0;
};

/// Sets what runs all following teams of the process; null: the engine's own choice, the OpenMP runtime of the process,
/// if it has one, or else a pool of the engine's own. Teams that are running finish on the former executor, which is
/// destroyed after the last of them. Results have the same bits with every executor. `set_num_threads` still limits the
/// threads of a call. A forked child has the executor, but not its threads: set another one there, or null.
void set_executor(std::shared_ptr<Executor> executor);

/// The executor in use; null without `set_executor`.
std::shared_ptr<Executor> get_executor();

}  // namespace lstmcore
