// A direction for an LSTM call, and the derivatives along it. A direction is stored as a Problem: its arrays are the
// tangents of another problem's arrays.
#pragma once

#include <lstmcore/tangent.hpp>

#include "lstm_problem.hpp"

/// Tangents for every array of `p`.
template <class T>
Problem<T> make_direction(const Shape& shape, std::uint64_t seed = 77) {
  return make_problem<T>(shape, seed);
}

/// Calls visit(array of a, array of b) for each pair of arrays.
template <class A, class B, class Visit>
void visit_arrays(A& a, const B& b, Visit&& visit) {
  for (std::size_t cell = 0; cell < a.weight_ih.size(); ++cell) {
    visit(a.weight_ih[cell], b.weight_ih[cell]);
    visit(a.weight_hh[cell], b.weight_hh[cell]);
    visit(a.bias[cell], b.bias[cell]);
    if (!a.peephole.empty()) visit(a.peephole[cell], b.peephole[cell]);
    if (!a.weight_hr.empty()) visit(a.weight_hr[cell], b.weight_hr[cell]);
    if (a.gain_ih.empty()) continue;
    visit(a.gain_ih[cell], b.gain_ih[cell]);
    visit(a.gain_hh[cell], b.gain_hh[cell]);
    visit(a.gain_c[cell], b.gain_c[cell]);
    visit(a.bias_c[cell], b.bias_c[cell]);
  }
  visit(a.x, b.x);
  visit(a.h0, b.h0);
  visit(a.c0, b.c0);
  visit(a.dy, b.dy);
  visit(a.dh, b.dh);
  visit(a.dc, b.dc);
}

/// The same for results; gradients with respect to biases are visited if `b` has them.
template <class A, class B, class Visit>
void visit_results(A& a, const B& b, Visit&& visit) {
  visit("y", a.y, b.y);
  visit("h", a.h, b.h);
  visit("c", a.c, b.c);
  visit("dx", a.dx, b.dx);
  visit("dh0", a.dh0, b.dh0);
  visit("dc0", a.dc0, b.dc0);
  for (std::size_t cell = 0; cell < a.dweight_ih.size(); ++cell) {
    visit("dweight_ih", a.dweight_ih[cell], b.dweight_ih[cell]);
    visit("dweight_hh", a.dweight_hh[cell], b.dweight_hh[cell]);
    if (!std::isnan(b.dbias[cell].front())) visit("dbias", a.dbias[cell], b.dbias[cell]);  // NaN: the cell has no bias
    if (!a.dpeephole.empty()) visit("dpeephole", a.dpeephole[cell], b.dpeephole[cell]);
    if (!a.dweight_hr.empty()) visit("dweight_hr", a.dweight_hr[cell], b.dweight_hr[cell]);
    if (a.dgain_ih.empty()) continue;
    visit("dgain_ih", a.dgain_ih[cell], b.dgain_ih[cell]);
    visit("dgain_hh", a.dgain_hh[cell], b.dgain_hh[cell]);
    visit("dgain_c", a.dgain_c[cell], b.dgain_c[cell]);
    if (!std::isnan(b.dbias_c[cell].front())) visit("dbias_c", a.dbias_c[cell], b.dbias_c[cell]);
  }
}

/// p + amount * direction.
template <class T>
Problem<T> moved(Problem<T> p, const Problem<T>& direction, T amount) {
  visit_arrays(p, direction, [amount](std::vector<T>& to, const std::vector<T>& from) {
    for (std::size_t k = 0; k < to.size(); ++k) to[k] += amount * from[k];
  });
  return p;
}

template <class T>
struct DualResult {
  Result<T> value, tangent;
};

/// Forward and backward with tangents. If `random` is false, there is no dropout, and zoneout uses its expectation.
template <class T>
DualResult<T> differentiate(const Problem<T>& p, const Problem<T>& direction, bool random = true) {
  Outputs<T> value(p), tangent(direction);
  const lstmcore::LstmTangent<T> lstm(lstmcore::Lstm<T>(p.config, p.weights()), direction.weights());
  lstmcore::LstmTangentTape<T> tape;
  lstmcore::LstmSequence<T> sequence = p.sequence();
  sequence.random = random;
  lstm.forward(sequence, direction.sequence().x, value.y, tangent.y, value.state, tangent.state, tape);
  lstm.backward(tape, p.output_gradients(), direction.output_gradients(), value.inputs, tangent.inputs);
  return {value.result, tangent.result};
}
