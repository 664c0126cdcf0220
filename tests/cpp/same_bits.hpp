// Helpers for the tests that compare bits.
#pragma once

#include <vector>

#include "check.hpp"
#include "lstm_problem.hpp"
#include "thread_count.hpp"

template <class T>
void check_same_outputs(const Result<T>& result, const Result<T>& expected) {
  CHECK_SAME_BITS(result.y, expected.y);
  CHECK_SAME_BITS(result.h, expected.h);
  CHECK_SAME_BITS(result.c, expected.c);
}

template <class T>
void check_same_gradients(const Result<T>& result, const Result<T>& expected) {
  CHECK_SAME_BITS(result.dx, expected.dx);
  CHECK_SAME_BITS(result.dh0, expected.dh0);
  CHECK_SAME_BITS(result.dc0, expected.dc0);
  for (std::size_t cell = 0; cell < expected.dbias.size(); ++cell) {
    CHECK_SAME_BITS(result.dweight_ih[cell], expected.dweight_ih[cell]);
    CHECK_SAME_BITS(result.dweight_hh[cell], expected.dweight_hh[cell]);
    CHECK_SAME_BITS(result.dbias[cell], expected.dbias[cell]);
    if (!expected.dweight_hr.empty()) CHECK_SAME_BITS(result.dweight_hr[cell], expected.dweight_hr[cell]);
    if (!expected.dpeephole.empty()) CHECK_SAME_BITS(result.dpeephole[cell], expected.dpeephole[cell]);
    if (expected.dgain_c.empty()) continue;
    CHECK_SAME_BITS(result.dgain_ih[cell], expected.dgain_ih[cell]);
    CHECK_SAME_BITS(result.dgain_hh[cell], expected.dgain_hh[cell]);
    CHECK_SAME_BITS(result.dgain_c[cell], expected.dgain_c[cell]);
    CHECK_SAME_BITS(result.dbias_c[cell], expected.dbias_c[cell]);
  }
}

/// Row `n` of a problem and of its result, alone.
template <class T>
struct Row {
  const Problem<T>& p;
  Index n;

  std::vector<T> sequence(const std::vector<T>& values, Index width, Index steps) const {
    const auto start = values.begin() + n * p.steps * width;
    return std::vector<T>(start, start + steps * width);
  }
  std::vector<T> state(const std::vector<T>& values, Index width) const {
    std::vector<T> part;
    for (Index cell = 0; cell < p.cells() && !values.empty(); ++cell) {
      const auto start = values.begin() + (cell * p.N + n) * width;
      part.insert(part.end(), start, start + width);
    }
    return part;
  }
  std::vector<T> h(const std::vector<T>& values) const { return state(values, p.config.state_size()); }
  std::vector<T> c(const std::vector<T>& values) const { return state(values, p.config.hidden_size); }
  Problem<T> problem(bool cut) const {
    Problem<T> alone = p;
    alone.N = 1;
    alone.steps = cut ? p.length(n) : p.steps;
    if (!p.lengths.empty()) alone.lengths = {p.lengths[n]};
    if (cut) alone.lengths.clear();
    alone.x = sequence(p.x, p.config.input_size, alone.steps);
    alone.dy = sequence(p.dy, p.config.output_size(), alone.steps);
    alone.h0 = h(p.h0);
    alone.c0 = c(p.c0);
    alone.dh = h(p.dh);
    alone.dc = c(p.dc);
    if (p.mask.size() > 0) {
      alone.mask.resize(static_cast<std::size_t>(alone.steps));
      for (Index t = 0; t < alone.steps; ++t) alone.mask[t] = p.mask[n * p.steps + t];
    }
    if (p.reset.size() > 0) {
      alone.reset.resize(static_cast<std::size_t>(alone.steps));
      for (Index t = 0; t < alone.steps; ++t) alone.reset[t] = p.reset[n * p.steps + t];
    }
    return alone;
  }
};
