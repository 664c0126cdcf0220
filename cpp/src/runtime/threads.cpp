#include "threads.hpp"

#include <cstdlib>
#include <fstream>
#include <thread>

#include "errors.hpp"
#include "policy.hpp"

#if defined(__linux__)
#include <sched.h>
#endif

namespace lstmcore {
namespace {

using policy::flops_per_thread;
using policy::most_threads;

#if defined(__linux__)
/// Processors that this container may use on average; `unlimited` if its control group sets no limit.
int quota(int unlimited) {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  double time = 0, period = 0;
  if (!(file >> time >> period) || time <= 0 || period <= 0) return unlimited;
  return std::max(1, static_cast<int>(std::min<double>(unlimited, time / period + 0.5)));
}
#endif

int processors() {
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) return quota(std::max(1, CPU_COUNT(&allowed)));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int default_threads() {
  // Of a list such as "4,2", the first number is for the outermost level of parallelism, which is ours.
  const char* const text = std::getenv("OMP_NUM_THREADS");
  const long wanted = text != nullptr ? std::strtol(text, nullptr, 10) : 0;
  const int available = processors();
  return std::min(most_threads, wanted >= 1 && wanted < available ? static_cast<int>(wanted) : available);
}

std::atomic<int>& thread_setting() {
  static std::atomic<int> count{default_threads()};
  return count;
}

std::atomic<int> forced_parting{measured_parting};

/// Whether the cores are crowded, which calls learn from the earlier calls of the process.
class Crowd {
 public:
  static Crowd& of_process() {
    static Crowd crowd;
    return crowd;
  }

  bool lasts() const {
    const std::int64_t until = until_.load(std::memory_order_relaxed);
    return until != 0 && nanoseconds() < until;
  }

  /// A team had to part. If it was the first try after a crowded time that ended less than its own length ago, the new
  /// one lasts twice as long, up to a limit; teams that were running when a crowded time began say nothing new. If
  /// several threads get here at the same time, one of their lengths counts.
  void found() {
    const std::int64_t now = nanoseconds(), until = until_.load(std::memory_order_relaxed);
    if (now < until) return;
    const std::int64_t last = length_.load(std::memory_order_relaxed);
    const std::int64_t first =
        teams_on_own_pool() ? policy::first_crowded_nanoseconds : policy::first_crowded_elsewhere_nanoseconds;
    const bool again = until != 0 && now - until < std::max(last, first);
    const std::int64_t length = again ? std::min(2 * last, policy::longest_crowded_nanoseconds) : first;
    length_.store(length, std::memory_order_relaxed);
    until_.store(now + length, std::memory_order_relaxed);
  }

 private:
  std::atomic<std::int64_t> until_{0};  ///< on the clock of `nanoseconds()`; 0: never
  std::atomic<std::int64_t> length_{0};
};

/// What a meeting takes, which calls learn from the earlier calls of the process.
struct MeasuredMeeting {
  std::atomic<std::int64_t> nanoseconds{0}, until{0};
};

MeasuredMeeting& measured_meeting() {
  static MeasuredMeeting meeting;
  return meeting;
}

}  // namespace

int get_num_threads() { return thread_setting().load(std::memory_order_relaxed); }

void set_num_threads(int count) {
  if (count < 1 || count > most_threads) {
    raise<std::invalid_argument>("count: expected 1 to " + std::to_string(most_threads) + " threads, got " +
                                 std::to_string(count));
  }
  thread_setting().store(count, std::memory_order_relaxed);
}

int threads_for(double flops) {
  const int most = get_num_threads();
  if (most == 1 || flops < 2 * flops_per_thread) return 1;
  if (flops < policy::crowded_flops && crowded()) return 1;
  return team_limit(static_cast<int>(std::min<double>(most, flops / flops_per_thread)));
}

// ---- barriers -------------------------------------------------------------------------------------------------------

std::int64_t meeting_nanoseconds() {
  const MeasuredMeeting& meeting = measured_meeting();
  return nanoseconds() < meeting.until.load(std::memory_order_relaxed)
             ? meeting.nanoseconds.load(std::memory_order_relaxed)
             : 0;
}

void StepBarrier::measure(int threads, std::int64_t most) {
  const int forced = forced_parting.load(std::memory_order_relaxed);
  if (forced == part_at_once) parted_.store(true, std::memory_order_relaxed);
  if (!to_measure_ || forced != measured_parting) return;
  for (int round = 0; round <= policy::meeting_rounds; ++round) {
    for (int meeting = 1; round > 0 && meeting < policy::meetings_per_round; ++meeting) barrier_.wait(threads);
    barrier_.wait(threads, [&] {
      const std::int64_t now = nanoseconds(), took = now - round_begin_;
      if (round == 1 || (round > 1 && took < shortest_round_)) shortest_round_ = took;
      round_begin_ = now;
      if (round < policy::meeting_rounds) return;
      const std::int64_t meeting = std::max<std::int64_t>(1, shortest_round_ / policy::meetings_per_round);
      measured_meeting().nanoseconds.store(meeting, std::memory_order_relaxed);
      measured_meeting().until.store(now + policy::measured_meeting_nanoseconds, std::memory_order_relaxed);
      to_measure_ = false;
      if (meeting > most) parted_.store(true, std::memory_order_relaxed);
    });
  }
}

void StepBarrier::wait(int threads, const Interruptible* call) {
  const std::int64_t slept = barrier_.wait(threads, [&] {
    if (InterruptWatch::stopped(call)) {
      parted_.store(true, std::memory_order_relaxed);
      return;
    }
    const int forced = forced_parting.load(std::memory_order_relaxed);
    if (forced != measured_parting) {
      if (++meetings_ > forced) parted_.store(true, std::memory_order_relaxed);
      return;
    }
    const std::int64_t late = late_.load(std::memory_order_relaxed) / (threads - 1);
    if (late < policy::late_nanoseconds || parted()) return;
    if (static_cast<double>(late) < policy::late_share * static_cast<double>(nanoseconds() - begin_)) return;
    parted_.store(true, std::memory_order_relaxed);
    count_as_crowded();
  });
  if (slept > 0) late_.fetch_add(slept, std::memory_order_relaxed);
}

bool crowded() { return Crowd::of_process().lasts() && parting_is_measured(); }

void count_as_crowded() {
  if (parting_is_measured()) Crowd::of_process().found();
}

bool parting_is_measured() { return forced_parting.load(std::memory_order_relaxed) == measured_parting; }

void part_after(int meetings) { forced_parting.store(meetings); }

}  // namespace lstmcore
