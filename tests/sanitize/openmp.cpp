// Stands in for GCC's OpenMP runtime (libgomp) while the thread sanitizer watches. The sanitizer does not see how
// libgomp starts and joins its threads and would report every parallel region as a race; it does understand
// std::thread. Implements the functions that the engine calls: plain parallel regions with a given number of threads.
// Linked into an executable, these definitions come before those of the shared library.
#include <algorithm>
#include <thread>
#include <vector>

namespace {

thread_local int team_size = 1;
thread_local int team_member = 0;

void run_member(void (*body)(void*), void* data, int member, int size) {
  team_size = size;
  team_member = member;
  body(data);
}

}  // namespace

extern "C" {

int omp_get_num_threads() { return team_size; }
int omp_get_thread_num() { return team_member; }

/// GCC compiles `#pragma omp parallel num_threads(threads)` to a call of this. A region inside a region gets one
/// thread, which is libgomp's default.
void GOMP_parallel(void (*body)(void*), void* data, unsigned threads, unsigned /*flags*/) {
  const int outer_size = team_size;
  const int outer_member = team_member;
  const int size = outer_size > 1 ? 1 : std::max(1, static_cast<int>(threads));
  std::vector<std::thread> others;
  for (int member = 1; member < size; ++member) others.emplace_back(run_member, body, data, member, size);
  run_member(body, data, 0, size);
  for (std::thread& other : others) other.join();
  team_size = outer_size;
  team_member = outer_member;
}

}  // extern "C"
