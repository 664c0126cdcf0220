// Measures the machine's limits, per thread count: multiply-adds a second of every instruction set, and read bandwidth
// of every level of memory. Prints JSON. A limit is the best of several tries.
// Usage: lstmcore_bench_limits [ISA DTYPE THREADS]; with arguments only one limit of multiply-adds, in about 0.1 s.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "limits_kernels.hpp"

#if defined(__linux__)
#include <sched.h>
#include <unistd.h>
#endif

namespace {

using Clock = std::chrono::steady_clock;

struct Isa {
  std::string name;
  const limits::Table& table;
};

std::vector<Isa> isas() {
  std::vector<Isa> found{{"baseline", limits::baseline::table()}};
#ifdef LIMITS_X86
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back({"avx2", limits::avx2::table()});
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd")) {
    found.push_back({"avx512", limits::avx512::table()});
  }
#endif
  return found;
}

std::vector<int> processors() {
  std::vector<int> found;
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &allowed)) found.push_back(cpu);
    }
  }
#endif
  if (found.empty()) found.resize(std::max(1u, std::thread::hardware_concurrency()));
  return found;
}

void pin(int processor) {
#if defined(__linux__)
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(processor, &one);
  sched_setaffinity(0, sizeof(one), &one);
#else
  static_cast<void>(processor);
#endif
}

/// Seconds that `work(thread)` takes on all threads at once, from the first start to the last end.
double timed(const std::vector<int>& cpus, int threads, const std::function<void(int)>& work) {
  std::atomic<int> ready{0};
  std::vector<Clock::time_point> start(static_cast<std::size_t>(threads)), end(start);
  std::vector<std::thread> team;
  for (int thread = 0; thread < threads; ++thread) {
    team.emplace_back([&, thread] {
      const auto at = static_cast<std::size_t>(thread);
      pin(cpus[at]);
      ready.fetch_add(1);
      while (ready.load() < threads) std::this_thread::yield();
      start[at] = Clock::now();
      work(thread);
      end[at] = Clock::now();
    });
  }
  for (std::thread& member : team) member.join();
  const auto first = *std::min_element(start.begin(), start.end());
  const auto last = *std::max_element(end.begin(), end.end());
  return std::chrono::duration<double>(last - first).count();
}

/// The best of a few tries of rounds that take about `seconds` each. `work(thread, rounds)`.
double best_rate(const std::vector<int>& cpus, int threads, double seconds, int tries,
                 const std::function<void(int, std::size_t)>& work) {
  std::size_t rounds = 1;
  double took = 0;
  for (;; rounds *= 4) {
    took = timed(cpus, 1, [&](int thread) { work(thread, rounds); });
    if (took > seconds / 8) break;
  }
  rounds = std::max<std::size_t>(1, static_cast<std::size_t>(static_cast<double>(rounds) * seconds / took));
  double best = 0;
  for (int attempt = 0; attempt < tries; ++attempt) {
    const double elapsed = timed(cpus, threads, [&](int thread) { work(thread, rounds); });
    best = std::max(best, static_cast<double>(rounds) * threads / elapsed);
  }
  return best;
}

template <class T>
double gflops(const std::vector<int>& cpus, int threads, limits::MultiplyAdd<T> kernel, double seconds) {
  constexpr std::size_t rounds_at_once = 10000;
  T sink = 0;
  const double flops = kernel(rounds_at_once, T(1), &sink);
  std::vector<T> sinks(static_cast<std::size_t>(threads) * 64);
  const double rate = best_rate(cpus, threads, seconds, 5, [&](int thread, std::size_t rounds) {
    for (std::size_t round = 0; round < rounds; ++round) {
      kernel(rounds_at_once, T(1), &sinks[static_cast<std::size_t>(thread) * 64]);
    }
  });
  return rate * flops * 1e-9;
}

double gigabytes(const std::vector<int>& cpus, int threads, limits::Read kernel, std::size_t bytes) {
  constexpr std::size_t alignment = 4096;
  std::vector<void*> blocks;
  for (int thread = 0; thread < threads; ++thread) {
    void* const block = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    if (block == nullptr) std::abort();
    std::fill_n(static_cast<char*>(block), bytes, static_cast<char>(1));
    blocks.push_back(block);
  }
  std::vector<int> sinks(static_cast<std::size_t>(threads) * 64);
  const double rate = best_rate(cpus, threads, 0.03, 5, [&](int thread, std::size_t rounds) {
    const auto at = static_cast<std::size_t>(thread);
    kernel(blocks[at], bytes, rounds, &sinks[at * 64]);
  });
  for (void* block : blocks) std::free(block);
  return rate * static_cast<double>(bytes) * 1e-9;
}

struct Level {
  const char* name;
  std::size_t bytes;  // per thread
};

/// Two thirds of a core's own caches; half of the shared cache, at most 16 MiB, divided among the threads; far more
/// than all caches.
std::vector<Level> levels(int threads) {
  long l1 = 32 << 10, l2 = 1 << 20, l3 = 16 << 20;
#if defined(_SC_LEVEL1_DCACHE_SIZE)
  const auto size = [](int name, long otherwise) {
    const long found = sysconf(name);
    return found > 0 ? found : otherwise;
  };
  l1 = size(_SC_LEVEL1_DCACHE_SIZE, l1);
  l2 = size(_SC_LEVEL2_CACHE_SIZE, l2);
  l3 = size(_SC_LEVEL3_CACHE_SIZE, l3);
#endif
  const auto rounded = [](long bytes) { return static_cast<std::size_t>(std::max(1L, bytes / 1024)) * 1024; };
  // A cache shared with other guests may look far larger than the part that this machine gets.
  const long shared = std::max(std::min(l3 / 2, 16L << 20) / threads, 2 * l2);
  return {{"L1", rounded(l1 * 2 / 3)}, {"L2", rounded(l2 * 2 / 3)}, {"L3", rounded(shared)}, {"DRAM", 512 << 20}};
}

/// Multiply-adds a second as one JSON object. `seconds` is the length of a try.
std::string fma_entry(const std::vector<int>& cpus, int threads, const Isa& isa, const std::string& dtype,
                      double seconds) {
  const double rate = dtype == "float32" ? gflops<float>(cpus, threads, isa.table.f32, seconds)
                                         : gflops<double>(cpus, threads, isa.table.f64, seconds);
  char line[256];
  std::snprintf(line, sizeof(line), R"(    {"isa": "%s", "dtype": "%s", "threads": %d, "gflops": %.2f})",
                isa.name.c_str(), dtype.c_str(), threads, rate);
  return line;
}

std::string read_entry(const std::vector<int>& cpus, int threads, const Level& level) {
  const double rate = gigabytes(cpus, threads, isas().back().table.read, level.bytes);
  char line[256];
  std::snprintf(line, sizeof(line), R"(    {"level": "%s", "bytes": %zu, "threads": %d, "gigabytes": %.2f})",
                level.name, level.bytes, threads, rate);
  return line;
}

void print(const std::vector<std::string>& fma, const std::vector<std::string>& read) {
  const auto list = [](const char* name, const std::vector<std::string>& entries, const char* end) {
    std::printf("  \"%s\": [", name);
    for (std::size_t at = 0; at < entries.size(); ++at) std::printf("%s\n%s", at ? "," : "", entries[at].c_str());
    std::printf("\n  ]%s\n", end);
  };
  std::printf("{\n");
  list("fma", fma, ",");
  list("read", read, "");
  std::printf("}\n");
}

int measure_all(const std::vector<int>& cpus) {
  std::vector<std::string> fma, read;
  for (int threads = 1; threads <= static_cast<int>(cpus.size()); threads *= 2) {
    for (const Isa& isa : isas()) {
      for (const char* dtype : {"float32", "float64"}) fma.push_back(fma_entry(cpus, threads, isa, dtype, 0.05));
    }
    for (const Level& level : levels(threads)) read.push_back(read_entry(cpus, threads, level));
  }
  print(fma, read);
  return 0;
}

int measure_one(const std::vector<int>& cpus, const std::string& name, const std::string& dtype, int threads) {
  const bool known = dtype == "float32" || dtype == "float64";
  for (const Isa& isa : isas()) {
    if (isa.name != name || !known || threads < 1 || threads > static_cast<int>(cpus.size())) continue;
    print({fma_entry(cpus, threads, isa, dtype, 0.01)}, {});
    return 0;
  }
  std::fprintf(stderr, "expected an instruction set of this processor, float32 or float64, and at most %d threads\n",
               static_cast<int>(cpus.size()));
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 1) return measure_all(processors());
  if (argc == 4) return measure_one(processors(), argv[1], argv[2], std::atoi(argv[3]));
  std::fprintf(stderr, "usage: %s [ISA DTYPE THREADS]\n", argv[0]);
  return 2;
}
