#include "signals.hpp"

#include <atomic>

#include "bind.hpp"

namespace lstmcore::bindings {

namespace {

std::atomic<unsigned long> main_thread{0};

void set_main_thread(unsigned long identifier) { main_thread.store(identifier, std::memory_order_relaxed); }

}  // namespace

bool on_main_thread() { return main_thread.load(std::memory_order_relaxed) == PyThread_get_thread_ident(); }

void run_signal_handlers(void* context) {
  bool raised = false;
  static_cast<WithoutGil*>(context)->with_gil([&] { raised = PyErr_CheckSignals() != 0; });
  if (raised) throw HandlerRaised();  // NOLINT(bugprone-std-exception-baseclass): see there
}

void find_main_thread() {
  const auto thread = pybind11::module_::import("threading").attr("main_thread")();
  set_main_thread(thread.attr("ident").cast<unsigned long>());
  const auto os = pybind11::module_::import("os");
  if (!pybind11::hasattr(os, "register_at_fork")) return;
  // The only thread of a forked child is the one that forked.
  const pybind11::cpp_function forked([] { set_main_thread(PyThread_get_thread_ident()); });
  os.attr("register_at_fork")(pybind11::arg("after_in_child") = forked);
}

}  // namespace lstmcore::bindings
