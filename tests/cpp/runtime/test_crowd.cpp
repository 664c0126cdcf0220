// Threads that meet at every step part if the system does not run them at the same time.
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "check.hpp"
#include "runtime/policy.hpp"
#include "runtime/threads.hpp"

namespace {

using namespace std::chrono_literals;

/// Both threads meet `rounds` times, unless they part; the second sleeps before each meeting. Returns the rounds that
/// each made.
std::vector<int> meet(lstmcore::StepBarrier& barrier, int rounds, std::chrono::microseconds pause) {
  std::vector<int> made(2, 0);
  const auto run = [&](int thread) {
    while (made[static_cast<std::size_t>(thread)] < rounds) {
      if (thread == 1) std::this_thread::sleep_for(pause);
      barrier.wait(2);
      ++made[static_cast<std::size_t>(thread)];
      if (barrier.parted()) return;
    }
  };
  std::thread other(run, 1);
  run(0);
  other.join();
  return made;
}

}  // namespace

TEST("threads part, all at the same meeting, if one is always late") {
  bool crowded = false;
  // The crowded time lasts milliseconds. Where the machine itself is crowded, it may be over before this thread goes
  // on.
  for (int attempt = 0; attempt < 20 && !crowded; ++attempt) {
    lstmcore::StepBarrier barrier;
    const std::vector<int> made = meet(barrier, 1000, 2ms);
    crowded = lstmcore::crowded();
    CHECK(barrier.parted());
    CHECK_EQUAL(made[0], made[1]);
    // Each meeting wastes 2 ms, and the limit is below a millisecond.
    CHECK(made[0] < 10);
  }
  CHECK(crowded);
  std::this_thread::sleep_for(std::chrono::nanoseconds(lstmcore::policy::longest_crowded_nanoseconds));
  CHECK(!lstmcore::crowded());
}

TEST("teams of many callers that part in the same crowded time do not make it longer") {
  for (int team = 0; team < 8; ++team) lstmcore::count_as_crowded();
  std::this_thread::sleep_for(std::chrono::nanoseconds(2 * lstmcore::policy::first_crowded_nanoseconds) + 50ms);
  CHECK(!lstmcore::crowded());
}

TEST("parting can be forced and forbidden") {
  {
    lstmcore::part_after(lstmcore::never_part);
    lstmcore::StepBarrier barrier;
    const std::vector<int> made = meet(barrier, 20, 1ms);
    CHECK(!barrier.parted());
    CHECK_EQUAL(made[0], 20);
    CHECK_EQUAL(made[1], 20);
    CHECK(!lstmcore::crowded());
  }
  for (int meetings : {0, 1, 7}) {
    lstmcore::part_after(meetings);
    lstmcore::StepBarrier barrier;
    const std::vector<int> made = meet(barrier, 20, 0us);
    CHECK(barrier.parted());
    CHECK_EQUAL(made[0], meetings + 1);
    CHECK_EQUAL(made[1], meetings + 1);
  }
  lstmcore::part_after(lstmcore::measured_parting);
}

TEST("a meeting is measured once, and threads part if it takes longer than it may") {
  const auto measure = [](lstmcore::StepBarrier& barrier, std::int64_t most) {
    std::thread other([&] { barrier.measure(2, most); });
    barrier.measure(2, most);
    other.join();
    return barrier.parted();
  };
  const auto forget = [] {
    std::this_thread::sleep_for(std::chrono::nanoseconds(lstmcore::policy::measured_meeting_nanoseconds));
    CHECK_EQUAL(lstmcore::meeting_nanoseconds(), 0);
  };
  forget();
  {
    lstmcore::StepBarrier barrier;
    CHECK(measure(barrier, 0));
    CHECK(!lstmcore::crowded());
  }
  forget();
  {
    lstmcore::StepBarrier barrier;
    lstmcore::part_after(lstmcore::never_part);
    CHECK(!measure(barrier, 0));
    CHECK_EQUAL(lstmcore::meeting_nanoseconds(), 0);
    lstmcore::part_after(lstmcore::measured_parting);
    CHECK(!measure(barrier, 1'000'000'000));
  }
  // Long enough ago on a very busy machine, in which case it is measured again.
  if (lstmcore::meeting_nanoseconds() == 0) return;
  lstmcore::StepBarrier barrier;
  if (lstmcore::meeting_nanoseconds() > 0) CHECK(!measure(barrier, 0));
}

TEST("every task of every phase is done once, even if threads part between phases") {
  int shared = 0;
  for (int meetings : {0, 2, 100}) {
    lstmcore::part_after(meetings);
    constexpr int phases = 9, tasks = 3;
    std::vector<std::atomic<int>> done(phases * tasks);
    const bool together = lstmcore::parallel_phases<lstmcore::StepBarrier>(
        2, phases, [](std::int64_t phase) { return phase % 2 == 0 ? tasks : 1; },
        [&](std::int64_t phase, std::int64_t task, int) { ++done[static_cast<std::size_t>(phase * tasks + task)]; });
    if (!together) continue;  // the pool's threads are busy
    ++shared;
    for (int phase = 0; phase < phases; ++phase) {
      for (int task = 0; task < tasks; ++task) {
        CHECK_EQUAL(done[static_cast<std::size_t>(phase * tasks + task)].load(), phase % 2 == 0 || task == 0 ? 1 : 0);
      }
    }
  }
  CHECK(shared > 0);
  lstmcore::part_after(lstmcore::measured_parting);
}
