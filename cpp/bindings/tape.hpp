// Python's `LstmTape`: what a training forward stores for its one backward.
#pragma once

#include <atomic>
#include <lstmcore/lstm.hpp>
#include <variant>

#include "arrays.hpp"

namespace lstmcore::bindings {

/// A forward whose backward has not run yet, with the Lstm that computed it.
template <class T>
struct PendingBackward {
  Lstm<T> lstm;
  LstmTape<T> tape{};
};

class PyTape {
 public:
  template <class T>
  PyTape(const Lstm<T>& lstm, std::int64_t batch, std::int64_t steps, bool return_sequences, bool time_major = false)
      : pending_(PendingBackward<T>{lstm}),
        config_(lstm.config()),
        batch_(batch),
        steps_(steps),
        sequences_(return_sequences),
        time_major_(time_major) {}

  template <class T>
  PendingBackward<T>& pending() {
    return std::get<PendingBackward<T>>(pending_);
  }

  bool ready();
  std::size_t bytes();
  py::dtype dtype() const { return dtype_of(pending_); }
  bool return_sequences() const { return sequences_; }
  py::tuple output_shape() const;
  py::tuple state_shape() const;
  py::list parameters() const;
  /// New arrays for the gradients of all weights, by name.
  py::dict new_gradients() const;

  /// Appends a step to a tape that `Lstm.begin` returned; returns its output.
  py::object step(py::handle x, py::handle reset);
  /// Copies of h and c after the last step.
  py::tuple get_state();

  /// Returns dx, dh and dc; writes the gradients of `weights` into its arrays. The tape is used up.
  py::tuple backward(py::handle dy, py::handle dh, py::handle dc, py::handle need_x, py::handle need_state,
                     py::handle weights);

 private:
  template <class T>
  py::object step_of(PendingBackward<T>& pending, py::handle x, py::handle reset);
  template <class T>
  py::tuple get_state_of(const PendingBackward<T>& pending) const;
  template <class T>
  py::tuple backward_of(PendingBackward<T>& pending, py::handle dy, py::handle dh, py::handle dc, bool need_x,
                        bool need_state, py::handle weights);

  std::variant<PendingBackward<float>, PendingBackward<double>> pending_;
  LstmConfig config_;
  std::int64_t batch_;
  std::int64_t steps_;
  bool sequences_;
  bool time_major_;
  std::atomic<bool> taken_{false};
};

}  // namespace lstmcore::bindings
