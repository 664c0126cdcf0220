// The number of threads, for a block.
#pragma once

#include <lstmcore/cpu.hpp>

class ThreadCount {
 public:
  explicit ThreadCount(int count) : before_(lstmcore::get_num_threads()) { lstmcore::set_num_threads(count); }
  ~ThreadCount() { lstmcore::set_num_threads(before_); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
};
