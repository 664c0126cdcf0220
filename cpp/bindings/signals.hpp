// Lets Python's signal handlers run in the middle of a long computation, and end it.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
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
/// the computation writes must belong to nobody else yet: if a handler raises, it is left half written. `steps`: of
/// time, between which it asks.
template <class Body>
auto interruptibly(std::int64_t steps, Body&& body) {
  const bool ask = steps > 1 && on_main_thread();
  try {
    WithoutGil released;
    std::optional<Interruptible> asking;
    if (ask) asking.emplace(&run_signal_handlers, &released);
    return body();
  } catch (const HandlerRaised&) {
    throw pybind11::error_already_set();
  }
}

}  // namespace lstmcore::bindings
