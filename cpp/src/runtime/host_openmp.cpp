#include "host_openmp.hpp"

#include <atomic>
#include <memory>

#include "policy.hpp"
#include "waiting.hpp"

#if defined(__linux__) && defined(LSTMCORE_HOST_OPENMP)
#include <dlfcn.h>
#include <pthread.h>
#endif

namespace lstmcore {
namespace {

/// What the members of a team read.
struct Region {
  const HostOpenMP& host;
  const Executor::Task& task;
  const int count;
  const bool together;
  std::atomic<bool> ran{false};
};

void run_member(void* data) {
  Region& region = *static_cast<Region*>(data);
  const int size = region.host.team_size();
  if (region.together && size != region.count) return;
  region.ran.store(true, std::memory_order_relaxed);
  for (int index = region.host.thread_number(); index < region.count; index += size) region.task(index);
}

}  // namespace

bool HostOpenMP::run(int count, bool together, const Executor::Task& task) const {
  Region region{*this, task, count, together};
  parallel(run_member, &region, static_cast<unsigned>(count), 0);
  return region.ran.load(std::memory_order_relaxed);
}

#if defined(__linux__) && defined(LSTMCORE_HOST_OPENMP)

namespace {

template <class Function>
bool look_up(void* library, const char* name, Function& function) {
  void* const symbol = dlsym(library, name);
  function = reinterpret_cast<Function>(symbol);
  return symbol != nullptr;
}

/// The runtime in one of the libraries that this handle searches; null if none has it.
const HostOpenMP* found_through(void* library) {
  auto host = std::make_unique<HostOpenMP>();
  if (!look_up(library, "GOMP_parallel", host->parallel) ||
      !look_up(library, "omp_get_thread_num", host->thread_number) ||
      !look_up(library, "omp_get_num_threads", host->team_size)) {
    return nullptr;
  }
  Dl_info where{};
  if (dladdr(reinterpret_cast<void*>(host->parallel), &where) != 0 && where.dli_fname != nullptr) {
    host->path = where.dli_fname;
    dlopen(where.dli_fname, RTLD_LAZY | RTLD_NOLOAD);  // takes a reference, so that it stays loaded
  }
  return host.release();
}

const HostOpenMP* find_host() {
  if (const HostOpenMP* const global = found_through(RTLD_DEFAULT)) return global;
  void* const torch = dlopen("libtorch_cpu.so", RTLD_LAZY | RTLD_NOLOAD);
  return torch != nullptr ? found_through(torch) : nullptr;
}

/// Once found, it does not change.
std::atomic<const HostOpenMP*> host{nullptr};
std::atomic<std::int64_t> next_look{0};
std::atomic<bool> in_forked_child{false};

/// Registered when the library is loaded, because another library may start a team and fork before our first call.
[[maybe_unused]] const bool watching_forks = pthread_atfork(nullptr, nullptr, [] { in_forked_child.store(true); }) == 0;

}  // namespace

const HostOpenMP* host_openmp() {
  if (in_forked_child.load(std::memory_order_relaxed)) return nullptr;
  if (const HostOpenMP* const known = host.load(std::memory_order_acquire)) return known;
  const std::int64_t now = nanoseconds();
  std::int64_t due = next_look.load(std::memory_order_relaxed);
  if (now < due || !next_look.compare_exchange_strong(due, now + policy::host_look_nanoseconds)) return nullptr;
  const HostOpenMP* const found = find_host();
  if (found != nullptr) host.store(found, std::memory_order_release);
  return found;
}

#else

const HostOpenMP* host_openmp() { return nullptr; }

#endif

}  // namespace lstmcore
