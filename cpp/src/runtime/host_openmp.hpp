// The OpenMP runtime that the program uses for other things, such as PyTorch's.
#pragma once

#include <lstmcore/executor.hpp>
#include <string>

namespace lstmcore {

/// An OpenMP runtime of the process, which the engine itself does not contain. Its idle threads spin for some
/// milliseconds after each parallel region, so a second pool beside it would compete with them for the processors.
struct HostOpenMP {
  void (*parallel)(void (*body)(void*), void* data, unsigned threads, unsigned flags);  ///< GOMP_parallel
  int (*thread_number)();
  int (*team_size)();
  std::string path;  ///< of the library

  /// As `run_on_pool`. Inside a parallel region of the program the team has one thread.
  bool run(int count, bool together, const Executor::Task& task) const;
};

/// The runtime that the program, or PyTorch in it, is linked to: GCC's, or LLVM's or Intel's, which have the same entry
/// points. Null if there is none, which is checked again after a while, since one may be loaded later. Always null in a
/// forked child, which lacks the runtime's threads, and on systems other than Linux.
const HostOpenMP* host_openmp();

}  // namespace lstmcore
