#include "interrupt.hpp"

#include <algorithm>
#include <utility>

#include "errors.hpp"
#include "float_mode.hpp"
#include "policy.hpp"
#include "waiting.hpp"

namespace lstmcore {
namespace {

std::atomic<std::int64_t> interval{policy::asking_nanoseconds};

}  // namespace

Interruptible::Interruptible(Ask ask, void* context)
    : ask_(ask), context_(context), outer_(InterruptWatch::of_thread()) {
  InterruptWatch::place_of_thread() = this;
  left_ = 2;  // at the first look, before the first step, there is nothing to end yet
}

Interruptible::~Interruptible() { InterruptWatch::place_of_thread() = outer_; }

Interruptible*& InterruptWatch::place_of_thread() {
  static thread_local Interruptible* call = nullptr;
  return call;
}

Interruptible* InterruptWatch::of_thread() { return place_of_thread(); }

void InterruptWatch::look_at_clock() const {
  if (stopped(call_)) return;
  const std::int64_t now = nanoseconds(), usual = interval.load(std::memory_order_relaxed);
  if (call_->due_ == 0) call_->due_ = now + usual;
  if (now >= call_->due_) {
    ask();
  } else if (call_->looked_ != 0 && now - call_->looked_ < usual / 64) {
    call_->stride_ = std::min(2 * call_->stride_, policy::longest_look_stride);
  } else if (now - call_->looked_ > usual / 8) {
    call_->stride_ = std::max(1, call_->stride_ / 2);
  }
  call_->looked_ = now;
  call_->left_ = call_->stride_;
}

void InterruptWatch::ask() const {
  const std::int64_t begin = nanoseconds();
  {
    const UnitPause pause(arithmetic_);
    const CallersMode callers;
    const Uninterrupted others;  // what the caller does meanwhile may call the engine
    call_->error_ = error_of([&] { call_->ask_(call_->context_); });
    if (call_->error_) call_->stopped_.store(true, std::memory_order_release);
  }
  const std::int64_t end = nanoseconds();
  const std::int64_t usual = interval.load(std::memory_order_relaxed);
  call_->due_ = end + std::max(usual, std::min((end - begin) * policy::asking_share, policy::most_asking * usual));
}

void ask_every(std::int64_t time) { interval.store(time); }

void InterruptWatch::end_if_stopped() {
  Interruptible* const call = of_thread();
  if (!stopped(call)) return;
  call->stopped_.store(false, std::memory_order_relaxed);
  std::rethrow_exception(std::exchange(call->error_, nullptr));
}

}  // namespace lstmcore
