// Helpers for the tests of LSTMs in a lower precision: precisions and units to test, and ways to run a sequence.
#pragma once

#include <algorithm>
#include <lstmcore/precision.hpp>
#include <string>
#include <vector>

#include "check.hpp"
#include "lanes.hpp"
#include "lstm_problem.hpp"
#include "reference/matrix_unit.hpp"
#include "runtime/isa.hpp"
#include "runtime/units.hpp"

/// While it lives, the library uses the emulated matrix unit, or, if `on` is false, any unit that this machine has. At
/// the end it checks that tiles were configured whenever they were used.
class Emulation {
 public:
  explicit Emulation(bool on)
      : any_(lstmcore::use_any_unit(!on)), violations_(lstmcore::reference::matrix_unit_violations()) {
    if (!on) return;
    lstmcore::use_matrix_unit(&lstmcore::reference::emulated_matrix_unit(false),
                              &lstmcore::reference::emulated_matrix_unit(true));
  }
  ~Emulation() {
    lstmcore::use_any_unit(any_);
    lstmcore::use_matrix_unit(nullptr, nullptr);
    CHECK_EQUAL(lstmcore::reference::matrix_unit_violations(), violations_);
  }
  Emulation(const Emulation&) = delete;
  Emulation& operator=(const Emulation&) = delete;

 private:
  bool any_;
  long violations_;
};

struct Setting {
  lstmcore::Precision precision;
  bool emulated;

  bool trains() const { return precision != lstmcore::Precision::int8; }
};

/// Whether matrix units can be emulated: not where vectors are too short for their tiles.
inline bool can_emulate() { return panels_fill_tiles(lstmcore::active_kernels<float>().lanes); }

inline std::vector<Setting> possible(std::vector<Setting> settings) {
  const auto excluded = [](const Setting& setting) { return setting.emulated && !can_emulate(); };
  settings.erase(std::remove_if(settings.begin(), settings.end(), excluded), settings.end());
  return settings;
}

inline std::vector<Setting> settings() {
  return possible({{lstmcore::Precision::bf16x3, true},
                   {lstmcore::Precision::bf16x2, true},
                   {lstmcore::Precision::bf16, true},
                   {lstmcore::Precision::int8, true},
                   {lstmcore::Precision::bf16x3, false},
                   {lstmcore::Precision::bf16x2, false},
                   {lstmcore::Precision::bf16, false},
                   {lstmcore::Precision::int8, false}});
}

/// One of each kind of arithmetic, for long tests: three terms run the same code as two.
inline std::vector<Setting> few_settings() {
  return possible({{lstmcore::Precision::bf16x2, true},
                   {lstmcore::Precision::int8, true},
                   {lstmcore::Precision::bf16x2, false},
                   {lstmcore::Precision::bf16, false},
                   {lstmcore::Precision::int8, false}});
}

/// Calls body(setting) for each, with its unit in use.
template <class Body>
void for_each(const std::vector<Setting>& settings, Body&& body) {
  for (const Setting& setting : settings) {
    const check::Context context(std::string(lstmcore::precision_name(setting.precision)) +
                                 (setting.emulated ? ", emulated" : ", own unit"));
    const Emulation emulation(setting.emulated);
    // Without a unit for the precision, products are those of float32, which other tests check.
    if (!lstmcore::arithmetic_for(setting.precision, 1000)) continue;
    const long products = lstmcore::reference::matrix_unit_products();
    body(setting);
    if (setting.emulated) CHECK(lstmcore::reference::matrix_unit_products() > products);
  }
}

inline Problem<float> make(const Shape& shape, lstmcore::Precision precision) {
  Problem<float> p = make_problem<float>(shape);
  p.precision = precision;
  return p;
}

inline Index lanes() { return lstmcore::active_kernels<float>().lanes; }

/// A sequence in calls of 1, 2, 7 and all further steps, each of which begins with the state of the previous one.
inline Result<float> in_several_calls(const Problem<float>& p) {
  const lstmcore::Lstm<float> lstm(p.config, p.weights(), p.precision);
  Outputs<float> out(p);
  Index begin = 0;
  for (Index end : {Index{1}, Index{3}, Index{10}, p.steps}) {
    if (end <= begin || end > p.steps) continue;
    lstmcore::LstmSequence<float> part = p.sequence();
    lstmcore::View<float, 3> y = out.y;
    part.x.shape[1] = y.shape[1] = end - begin;
    part.x.data += begin * part.x.stride[1];
    y.data += begin * y.stride[1];
    lstm.forward(part, y, out.state);
    begin = end;
  }
  return out.result;
}

/// One step at a time.
inline Result<float> streamed(const Problem<float>& p) {
  lstmcore::LstmStream<float> stream(lstmcore::Lstm<float>(p.config, p.weights(), p.precision), p.N);
  Outputs<float> out(p);
  const Index C = p.config.input_size, Y = p.config.output_size();
  stream.set_state({{out.state.h.data, out.state.h.shape}, {out.state.c.data, out.state.c.shape}});
  std::vector<float> x(static_cast<std::size_t>(p.N * C)), y(static_cast<std::size_t>(p.N * Y));
  for (Index t = 0; t < p.steps; ++t) {
    for (Index n = 0; n < p.N; ++n) std::copy_n(p.x.data() + (n * p.steps + t) * C, C, x.data() + n * C);
    stream.step(x.data(), y.data());
    for (Index n = 0; n < p.N; ++n) std::copy_n(y.data() + n * Y, Y, out.result.y.data() + (n * p.steps + t) * Y);
  }
  stream.get_state(out.state);
  return out.result;
}
