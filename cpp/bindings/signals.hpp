// Lets Python's signal handlers run in the middle of a long computation, and end it.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <lstmcore/interrupt.hpp>
#include <optional>

#include "gil.hpp"

namespace lstmcore::bindings {

/// Whether this is the thread on which Python runs signal handlers.
bool on_main_thread();

/// Ends a computation: a signal handler has raised, and the error is set in Python. Not a std::exception, as which
/// others would catch it.
struct HandlerRaised {};

/// Runs the handlers of signals that have arrived. `context`: the `WithoutGil` of the computation. Throws HandlerRaised
/// if one raises, as Python's own handler of SIGINT does.
void run_signal_handlers(void* context);

/// Calls body(), a computation that asks (lstmcore/interrupt.hpp), without the GIL and returns what it returns. What
/// the computation writes must belong to nobody else yet, or be gradients, which nobody reads after an error: if a
/// handler raises, it is left half written. If `may_last` is false, it does not ask, which costs nothing.
template <class Body>
auto interruptibly_if(bool may_last, Body&& body) {
  const bool ask = may_last && on_main_thread();
  try {
    WithoutGil released;
    std::optional<Interruptible> asking;
    if (ask) asking.emplace(&run_signal_handlers, &released);
    return body();
  } catch (const HandlerRaised&) {
    throw pybind11::error_already_set();
  }
}

/// The same for a computation that asks between the time steps, of which there are `steps`.
template <class Body>
auto interruptibly(std::int64_t steps, Body&& body) {
  return interruptibly_if(steps > 1, body);
}

/// The same for a computation that does about one multiplication, or reads one element, for each of the product of
/// these sizes.
template <class Body>
auto interruptibly_over(std::initializer_list<std::int64_t> sizes, Body&& body) {
  constexpr double least = 1e7;  // fewer take less than 50 ms, before which nothing asks
  double work = 1;
  for (const std::int64_t size : sizes) work *= static_cast<double>(size);
  return interruptibly_if(work >= least, body);
}

/// `interruptibly_in_ranges` makes ranges longer until one takes this long, beside which a look at the clock costs
/// nothing, and asks at most this often: where another thread holds the GIL, an answer takes milliseconds.
constexpr std::chrono::milliseconds shortest_range{1}, asking_interval{50};

/// Calls body(begin, count) for one range after the other of 0 .. total - 1, without the GIL: for computations that do
/// not ask themselves, and that may be cut anywhere. Signal handlers run between two ranges. If one raises, the rest is
/// left out and undo() is called.
template <class Body, class Undo>
void interruptibly_in_ranges(std::int64_t total, Body&& body, Undo&& undo) {
  using Clock = std::chrono::steady_clock;
  const bool ask = on_main_thread();
  try {
    WithoutGil released;
    Clock::time_point looked = Clock::now(), asked = looked;
    for (std::int64_t begin = 0, next = 0, size = ask ? 1 : total; begin < total; begin = next) {
      next = begin + std::min(size, total - begin);
      body(begin, next - begin);
      if (!ask || next == total) continue;
      const Clock::time_point now = Clock::now();
      if (now - looked < shortest_range) size *= 2;
      looked = now;
      if (now - asked < asking_interval) continue;
      run_signal_handlers(&released);
      looked = asked = Clock::now();
    }
  } catch (const HandlerRaised&) {
    undo();
    throw pybind11::error_already_set();
  }
}

}  // namespace lstmcore::bindings
