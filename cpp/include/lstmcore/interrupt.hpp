// Ending long calls before their time, as when a user presses Ctrl-C.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>

namespace lstmcore {

/// While an object of this class exists, forwards and backwards of `Lstm`, `Rnn` and `LstmTangent` on its thread ask
/// whether to go on, between two time steps of a layer; so do the operations of ops.hpp and
/// `LstmCell::weight_gradients`, between two pieces of their work. They ask 50 ms or more after the last answer. The
/// wait grows to 200 times what answering takes, and to half a second at most. Calls of less than 50 ms never ask.
///
/// `ask` runs on the thread of the call, in the caller's floating-point mode. To end the call, it throws: the threads
/// of the team stop at their next step, and the call throws what `ask` threw. What the call was writing (y, states,
/// gradients) is then unspecified, a tape must be filled again, and weights and everything else are as they were. Calls
/// that go on have the bits that they would have had.
///
/// `LstmStream::step`, `Lstm::step`, the steps of `LstmCell` and what changes arrays in place (the steps of optimizers,
/// `scale` and `clip`) never ask. Neither does a call whose executor leaves the caller's thread without a task.
class Interruptible {
 public:
  using Ask = void (*)(void* context);

  Interruptible(Ask ask, void* context);
  ~Interruptible();
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;

 private:
  friend class InterruptWatch;

  const Ask ask_;
  void* const context_;
  Interruptible* const outer_;  ///< of the same thread
  std::atomic<bool> stopped_{false};
  std::exception_ptr error_;
  // Of the thread of the calls alone: how many of its steps to let pass before it looks at the clock, and its times.
  int left_ = 1, stride_ = 1;
  std::int64_t looked_ = 0, due_ = 0;
};

}  // namespace lstmcore
