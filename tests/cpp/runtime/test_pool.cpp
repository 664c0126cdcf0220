// The engine's own pool.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "check.hpp"
#include "runtime/pool.hpp"
#include "runtime/team.hpp"
#include "runtime/waiting.hpp"
#include "thread_count.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace {

using namespace std::chrono_literals;

template <class Body>
bool on_pool(int count, bool together, Body body) {
  return lstmcore::run_on_pool(
      count, together,
      lstmcore::Executor::Task([](void* data, int index) { (*static_cast<Body*>(data))(index); }, &body));
}

/// Each of `count` tasks is called once.
void check_once(int count) {
  std::vector<std::atomic<int>> calls(static_cast<std::size_t>(count));
  CHECK(on_pool(count, false, [&](int index) { ++calls[static_cast<std::size_t>(index)]; }));
  for (const std::atomic<int>& number : calls) CHECK_EQUAL(number.load(), 1);
}

}  // namespace

TEST("every task is called once, in team after team, however long the pool has slept") {
  for (int round = 0; round < 2000; ++round) check_once(1 + round % 7);
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(1ms);
    check_once(4);
  }
}

TEST("tasks that run together may wait for each other") {
  const ThreadCount four(4);
  for (int round = 0; round < 50; ++round) {
    lstmcore::Gathering gathering;
    std::atomic<int> complete{0};
    CHECK(on_pool(4, true, [&](int) { complete += gathering.complete(4) ? 1 : 0; }));  // all threads are idle
    CHECK_EQUAL(complete.load(), 4);
  }
}

TEST("a team that would have to wait for busy threads does not begin together, and is done by its caller otherwise") {
  lstmcore::end_pool_threads();
  std::atomic<int> busy{0};
  std::atomic<bool> release{false};
  std::thread other([&] {
    on_pool(3, false, [&](int) {
      ++busy;
      while (!release) std::this_thread::yield();
    });
  });
  while (busy < 3) std::this_thread::yield();
  std::atomic<int> called{0};
  CHECK(!on_pool(3, true, [&](int) { ++called; }));
  CHECK_EQUAL(called.load(), 0);
  CHECK(on_pool(3, false, [&](int) { ++called; }));
  CHECK_EQUAL(called.load(), 3);
  release = true;
  other.join();
}

TEST("several callers use the pool at the same time") {
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([] {
      for (int round = 0; round < 500; ++round) check_once(3);
    });
  }
  for (std::thread& caller : callers) caller.join();
}

TEST("tasks that never gather are told not to begin") {
  lstmcore::Gathering gathering;
  CHECK(!gathering.complete(2));
  CHECK(!gathering.complete(2));  // too late
}

TEST("a pool whose threads were ended starts new ones") {
  check_once(3);
  lstmcore::end_pool_threads();
  lstmcore::end_pool_threads();
  check_once(3);
}

// QEMU cannot fork a program that has threads.
#if (defined(__unix__) || defined(__APPLE__)) && !defined(__SANITIZE_THREAD__) && !defined(LSTMCORE_EMULATED)
TEST("a forked child has a pool of its own") {
  check_once(3);
  const pid_t child = fork();
  if (child == 0) {
    std::atomic<int> called{0};
    bool fine = true;
    for (int round = 0; round < 20; ++round) fine = fine && on_pool(3, false, [&](int) { ++called; });
    _exit(fine && called == 60 ? 0 : 1);
  }
  int status = -1;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK_EQUAL(status, 0);
  check_once(3);
}

#if !defined(__SANITIZE_ADDRESS__)
TEST("a program may end in the middle of a call") {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    on_pool(2, true, [&](int index) {
      if (index == 0) std::exit(0);
      for (;;) std::this_thread::yield();
    });
    _exit(1);
  }
  int status = -1;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK_EQUAL(status, 0);
}
#endif
#endif
