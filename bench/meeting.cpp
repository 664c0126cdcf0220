// What a meeting of two threads takes if they have nothing to do between meetings: what the engine measures for itself
// before two threads share a walk. Prints JSON. Usage: lstmcore_bench_meeting MEASUREMENTS
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "runtime/policy.hpp"
#include "runtime/threads.hpp"

namespace {

constexpr int threads = 2;

/// Nanoseconds per meeting, measured anew; 0 if the system did not run two threads at the same time.
std::int64_t measure() {
  const std::int64_t begin = lstmcore::nanoseconds();
  while (lstmcore::nanoseconds() - begin <= lstmcore::policy::measured_meeting_nanoseconds) {
    // The engine measures again only when its last measurement is this old.
  }
  lstmcore::StepBarrier barrier;
  const bool together = lstmcore::parallel_phases(
      threads, 1, [](std::int64_t) { return threads; },
      [&](std::int64_t, std::int64_t, int) { barrier.measure(threads, std::numeric_limits<std::int64_t>::max()); });
  return together ? lstmcore::meeting_nanoseconds() : 0;
}

}  // namespace

int main(int count, char** arguments) {
  const int measurements = count == 2 ? std::atoi(arguments[1]) : 0;
  if (measurements < 1) {
    std::fprintf(stderr, "usage: %s MEASUREMENTS\n", arguments[0]);
    return 2;
  }
  std::printf("{\"nanoseconds\": [");
  for (int index = 0; index < measurements; ++index) {
    std::printf("%s%lld", index == 0 ? "" : ", ", static_cast<long long>(measure()));
  }
  std::printf("]}\n");
  return 0;
}
