// Python's `Lstm`: a configuration and its packed weights, of float or of double.
#pragma once

#include <lstmcore/lstm.hpp>
#include <lstmcore/precision.hpp>
#include <memory>
#include <string>
#include <variant>

#include "tape.hpp"

namespace lstmcore::bindings {

class PyLstm {
 public:
  using Engine = std::variant<Lstm<float>, Lstm<double>>;

  PyLstm(const LstmConfig& config, py::handle weights, const std::string& precision);

  std::string precision() const;
  py::dtype dtype() const { return dtype_of(engine_); }
  const Engine& engine() const { return engine_; }

  /// Returns y, h, c and, when training, a tape.
  py::tuple forward(py::handle x, py::handle h, py::handle c, py::handle lengths, py::handle reset,
                    py::handle return_sequences, py::handle training, py::handle seed, py::handle mask,
                    py::handle recompute, py::handle random, py::handle time_major) const;

  /// A tape without a step yet.
  std::shared_ptr<PyTape> begin(py::handle batch_size, py::handle h, py::handle c, py::handle expected_steps,
                                py::handle seed) const;

 private:
  struct Options {
    bool return_sequences;
    bool training;
    std::uint64_t seed;
    std::int64_t recompute;
    bool random;
    bool time_major;
  };

  static Engine pack(const LstmConfig& config, py::handle weights, Precision precision);

  template <class T>
  static py::tuple forward_of(const Lstm<T>& lstm, py::handle x, py::handle h, py::handle c, py::handle lengths,
                              py::handle reset, py::handle mask, const Options& options);
  template <class T>
  static std::shared_ptr<PyTape> begin_of(const Lstm<T>& lstm, std::int64_t batch, py::handle h, py::handle c,
                                          std::int64_t expected_steps, std::uint64_t seed);

  Engine engine_;
};

}  // namespace lstmcore::bindings
