// How a computation learns that its call is to end: see lstmcore/interrupt.hpp.
#pragma once

#include <lstmcore/interrupt.hpp>

#include "units.hpp"

namespace lstmcore {

/// What one thread of a call looks at between two time steps, or two pieces of other work. Only the thread that made
/// the call asks the caller; what the answer was, all threads see.
class InterruptWatch {
 public:
  /// `call`: `of_thread()` on the thread of the call. `arithmetic`: of the thread's `UnitSession`, if it has one.
  explicit InterruptWatch(Interruptible* call, const Arithmetic& arithmetic = {})
      : call_(call), arithmetic_(arithmetic), asks_(call != nullptr && call == of_thread()) {}

  /// Whether anyone can stop the call at all.
  bool stoppable() const { return call_ != nullptr; }
  /// Whether the call is to end. Asks the caller first, if that is due.
  bool stopped() const {
    if (call_ == nullptr) return false;
    if (asks_ && --call_->left_ <= 0) look_at_clock();
    return stopped(call_);
  }

  /// The same without asking.
  static bool stopped(const Interruptible* call) {
    return call != nullptr && call->stopped_.load(std::memory_order_relaxed);
  }

  /// What can stop calls of this thread; null: nothing.
  static Interruptible* of_thread();
  /// After a team has ended, on the thread of the call: throws what the caller answered to end it.
  static void end_if_stopped();

 private:
  friend class Interruptible;
  friend class Uninterrupted;
  static Interruptible*& place_of_thread();
  void look_at_clock() const;
  void ask() const;

  Interruptible* const call_;
  const Arithmetic arithmetic_;
  const bool asks_;
};

/// A scope whose calls do not ask.
class Uninterrupted {
 public:
  Uninterrupted() : call_(InterruptWatch::of_thread()) { InterruptWatch::place_of_thread() = nullptr; }
  ~Uninterrupted() { InterruptWatch::place_of_thread() = call_; }
  Uninterrupted(const Uninterrupted&) = delete;
  Uninterrupted& operator=(const Uninterrupted&) = delete;

 private:
  Interruptible* const call_;
};

/// For tests: the nanoseconds between two questions, 0 to ask at every look.
void ask_every(std::int64_t time);

}  // namespace lstmcore
