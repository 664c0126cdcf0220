// The number of threads, for the duration of a scope.
#pragma once

#include <lstmcore/cpu.hpp>

#include "runtime/threads.hpp"

/// Sets the number of threads until the end of the scope. However busy the machine is, they share the work, but after
/// `part_after` meetings they part and leave the rest to one of them.
class ThreadCount {
 public:
  explicit ThreadCount(int count, int part_after = lstmcore::never_part) : before_(lstmcore::get_num_threads()) {
    lstmcore::set_num_threads(count);
    lstmcore::part_after(part_after);
  }
  ~ThreadCount() {
    lstmcore::set_num_threads(before_);
    lstmcore::part_after(lstmcore::measured_parting);
  }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
};
