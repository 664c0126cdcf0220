// Teams run on a program's own executor, with the same bits, and end whatever it does.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <lstmcore/executor.hpp>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.hpp"
#include "lstm_problem.hpp"
#include "runtime/float_mode.hpp"
#include "runtime/threads.hpp"
#include "same_bits.hpp"

namespace {

using lstmcore::Executor;

/// Starts a thread for each task but the first.
class ThreadPerTask : public Executor {
 public:
  explicit ThreadPerTask(int concurrency) : concurrency_(concurrency) {}
  int concurrency() const override { return concurrency_; }
  void run(int count, const Task& task) override {
    ++runs;
    largest = std::max(largest.load(), count);
    std::vector<std::thread> threads;
    for (int index = 1; index < count; ++index) threads.emplace_back([&task, index] { task(index); });
    task(0);
    for (std::thread& thread : threads) thread.join();
  }
  std::atomic<int> runs{0}, largest{0};

 private:
  const int concurrency_;
};

/// A pool as programs have it: some threads and a queue. The caller's thread only waits.
class QueuePool : public Executor {
 public:
  explicit QueuePool(int size) {
    for (int index = 0; index < size; ++index) threads_.emplace_back([this] { serve(); });
  }
  ~QueuePool() override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  int concurrency() const override { return static_cast<int>(threads_.size()); }
  void run(int count, const Task& task) override {
    int left = count;
    std::condition_variable done;
    std::unique_lock<std::mutex> lock(mutex_);
    for (int index = 0; index < count; ++index) {
      queue_.push_back([&, index] {
        task(index);
        const std::lock_guard<std::mutex> finished(mutex_);
        if (--left == 0) done.notify_all();
      });
    }
    changed_.notify_all();
    done.wait(lock, [&] { return left == 0; });
  }

 private:
  void serve() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return ended_ || !queue_.empty(); });
      if (queue_.empty()) return;
      const std::function<void()> job = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      job();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  std::vector<std::thread> threads_;
  bool ended_ = false;
};

/// Runs all tasks on the caller's thread, the last first, whatever it says.
class OneByOne : public Executor {
 public:
  explicit OneByOne(int stated) : stated_(stated) {}
  int concurrency() const override { return stated_; }
  void run(int count, const Task& task) override {
    ++runs;
    for (int index = count - 1; index >= 0; --index) task(index);
  }
  int runs = 0;

 private:
  const int stated_;
};

/// Forgets the last task.
class Forgetful : public OneByOne {
 public:
  using OneByOne::OneByOne;
  void run(int count, const Task& task) override { OneByOne::run(count - 1, task); }
};

/// Sets an executor for a block.
class InUse {
 public:
  explicit InUse(std::shared_ptr<Executor> executor) { lstmcore::set_executor(std::move(executor)); }
  ~InUse() { lstmcore::set_executor(nullptr); }
};

const std::vector<Shape>& shapes() {
  static const std::vector<Shape> all = {
      {"rows over threads", lstm_config(20, 40), 37, 12},
      {"units over threads, which meet at every step", lstm_config(100, 300), 3, 5},
      {"layers over threads", lstm_config(30, 32, 3), 1, 150},
      {"both directions", bidirectional(lstm_config(30, 32)), 11, 100},
  };
  return all;
}

/// All shapes have the same bits on this executor as on one thread.
void check_bits(const std::shared_ptr<Executor>& executor, int part_after = lstmcore::never_part) {
  for (const Shape& shape : shapes()) {
    const check::Context context(shape.reason);
    const Problem<float> p = make_problem<float>(shape);
    Result<float> expected;
    {
      const ThreadCount one(1);
      expected = train(p);
    }
    const ThreadCount four(4, part_after);
    const InUse in_use(executor);
    const Result<float> result = train(p);
    check_same_outputs(result, expected);
    check_same_gradients(result, expected);
  }
}

}  // namespace

TEST("teams run on threads that an executor starts") {
  const auto executor = std::make_shared<ThreadPerTask>(3);
  check_bits(executor);
  CHECK(executor->runs > 0);
  CHECK(lstmcore::get_executor() == nullptr);
}

TEST("teams run on a program's pool") { check_bits(std::make_shared<QueuePool>(4)); }

TEST("an executor without threads is never asked to run a team") {
  const auto executor = std::make_shared<OneByOne>(1);
  check_bits(executor);
  CHECK_EQUAL(executor->runs, 0);
}

TEST("an executor that runs fewer tasks at once than it says costs time, but does not hang") {
  const auto executor = std::make_shared<OneByOne>(4);
  check_bits(executor, lstmcore::measured_parting);
  CHECK(executor->runs > 0);
}

TEST("calls from several threads share an executor") {
  const Problem<float> p = make_problem<float>(shapes()[1]);
  Result<float> expected;
  {
    const ThreadCount one(1);
    expected = train(p);
  }
  const ThreadCount four(4, lstmcore::measured_parting);
  const InUse in_use(std::make_shared<QueuePool>(4));
  std::vector<Result<float>> results(3);
  std::vector<std::thread> callers;
  for (Result<float>& result : results) {
    callers.emplace_back([&] {
      for (int call = 0; call < 5; ++call) result = train(p);
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (const Result<float>& result : results) check_same_gradients(result, expected);
}

TEST("an executor that does not run every task is an error") {
  const ThreadCount four(4);
  const InUse in_use(std::make_shared<Forgetful>(4));
  CHECK_THROWS(lstmcore::parallel(3, [](int) {}), "executor: expected run to call each of 3 tasks once, got 2 calls");
}

TEST("an exception of a task leaves an executor's team") {
  const InUse in_use(std::make_shared<ThreadPerTask>(3));
  CHECK_THROWS(lstmcore::parallel(3,
                                  [](int index) {
                                    if (index == 1) throw std::runtime_error("of one task");
                                  }),
               "of one task");
}

TEST("an executor and the threads that it starts have the caller's floating-point mode, its tasks the engine's") {
  namespace float_mode = lstmcore::float_mode;
  class Watched : public ThreadPerTask {
   public:
    using ThreadPerTask::ThreadPerTask;
    void run(int count, const Task& task) override {
      modes.push_back(float_mode::read() & ~float_mode::flags);
      std::thread([&] { modes.push_back(float_mode::read() & ~float_mode::flags); }).join();
      ThreadPerTask::run(count, task);
      modes.push_back(float_mode::read() & ~float_mode::flags);
    }
    std::vector<float_mode::Word> modes;
  };
  const float_mode::Word callers = float_mode::read() & ~float_mode::flags, engines = float_mode::wanted(callers);
  const auto executor = std::make_shared<Watched>(3);
  const InUse in_use(executor);
  std::vector<float_mode::Word> of_tasks(3);
  const lstmcore::EngineFloats floats;
  lstmcore::parallel(
      3, [&](int index) { of_tasks[static_cast<std::size_t>(index)] = float_mode::read() & ~float_mode::flags; });
  CHECK_EQUAL(float_mode::read() & ~float_mode::flags, engines);
  for (const float_mode::Word mode : executor->modes) CHECK_EQUAL(mode, callers);
  CHECK_EQUAL(executor->modes.size(), std::size_t{3});
  for (const float_mode::Word mode : of_tasks) CHECK_EQUAL(mode, engines);
}

TEST("the provider of threads is named") {
  const std::string own = lstmcore::thread_provider();
  CHECK(own == "own pool" || own.rfind("OpenMP (", 0) == 0);
  const InUse in_use(std::make_shared<OneByOne>(2));
  CHECK_EQUAL(lstmcore::thread_provider(), "executor");
}
