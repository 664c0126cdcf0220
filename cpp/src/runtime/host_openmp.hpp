// The OpenMP runtime that the program uses for other things, such as PyTorch's.
#pragma once

#include <lstmcore/executor.hpp>
#include <string>

namespace lstmcore {

/// An OpenMP runtime of the process that the engine does not bring along. Its idle threads spin for some milliseconds
/// after each parallel region, so a second pool beside it would compete with them for the processors.
struct HostOpenMP {
  void (*parallel)(void (*body)(void*), void* data, unsigned threads, unsigned flags);  ///< GOMP_parallel
  int (*thread_number)();
  int (*team_size)();
  std::string path;  ///< of the library

  /// As `run_on_pool`. Inside a parallel region of the program the team has one thread.
  bool run(int count, bool together, const Executor::Task& task) const;
};

/// The runtime that the program, or PyTorch in it, is linked to; null if there is none, which is found out again after
/// a while, since it may be loaded later, and in a forked child, in which its threads are missing. GCC's runtime, and
/// those of LLVM and Intel, which have the same entry points. Looks on Linux only.
const HostOpenMP* host_openmp();

}  // namespace lstmcore
