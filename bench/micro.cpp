// Micro-benchmarks of the parts of the engine: products, cell and walk. Needs Google Benchmark.
#include <benchmark/benchmark.h>

#include <lstmcore/cpu.hpp>
#include <lstmcore/lstm.hpp>
#include <random>
#include <vector>

#include "packing/pack.hpp"
#include "runtime/isa.hpp"

namespace {

using lstmcore::active_kernels;
using lstmcore::kernels::Index;
using lstmcore::kernels::Kernels;

/// Random numbers in memory of their own, addressed by row pointers.
template <class T>
struct Matrix {
  std::vector<T> values;
  std::vector<T*> rows;

  Matrix(Index row_count, Index width) : values(static_cast<std::size_t>(row_count * width)) {
    std::mt19937 random(1);
    std::uniform_real_distribution<double> uniform(-0.1, 0.1);
    for (T& value : values) value = static_cast<T>(uniform(random));
    for (Index row = 0; row < row_count; ++row) rows.push_back(values.data() + row * width);
  }
  const T* const* constant() const { return rows.data(); }
};

void count_flops(benchmark::State& state, double flops) {
  state.counters["flops"] =
      benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

Index padded(Index count, Index multiple) { return (count + multiple - 1) / multiple * multiple; }

/// out = a B: rows x depth by depth x columns.
template <class T>
void product(benchmark::State& state) {
  const Kernels<T>& kernels = active_kernels<T>();
  const Index rows = state.range(0), depth = state.range(1), columns = state.range(2);
  const Matrix<T> a(rows, depth), b(depth, columns);
  Matrix<T> out(rows, columns);
  std::vector<T> panels(static_cast<std::size_t>(lstmcore::kernels::panel_elements(depth, columns, kernels.lanes)));
  lstmcore::pack_panels(b.values.data(), columns, Index{1}, depth, columns, kernels.lanes, panels.data());
  const Index full = lstmcore::kernels::panel_vectors * kernels.lanes;
  lstmcore::kernels::Product<T> p{};
  p.rows = rows;
  p.depth = depth;
  p.columns = columns;
  p.a = a.constant();
  p.panels = panels.data();
  p.out = out.rows.data();
  p.panel_end = (columns + full - 1) / full;
  for (auto _ : state) {
    kernels.product(p);
    benchmark::ClobberMemory();
  }
  count_flops(state, 2.0 * static_cast<double>(rows * depth * columns));
}

/// out = a^T B, as for the gradients of weights; a is depth x rows.
template <class T>
void transposed_product(benchmark::State& state) {
  const Kernels<T>& kernels = active_kernels<T>();
  const Index rows = state.range(0), depth = state.range(1), columns = state.range(2);
  const Matrix<T> a(depth, rows), b(depth, columns);
  Matrix<T> out(rows, columns);
  std::vector<T> panels(static_cast<std::size_t>(lstmcore::kernels::panel_elements(depth, columns, kernels.lanes)));
  lstmcore::pack_panels(b.values.data(), columns, Index{1}, depth, columns, kernels.lanes, panels.data());
  const Index full = lstmcore::kernels::panel_vectors * kernels.lanes;
  lstmcore::kernels::TransposedProduct<T> p{};
  p.row_end = rows;
  p.depth = depth;
  p.columns = columns;
  p.a = a.constant();
  p.panels = panels.data();
  p.out = out.values.data();
  p.out_stride = columns;
  p.panel_end = (columns + full - 1) / full;
  for (auto _ : state) {
    kernels.transposed_product(p);
    benchmark::ClobberMemory();
  }
  count_flops(state, 2.0 * static_cast<double>(rows * depth * columns));
}

/// The backward of the cell over rows x hidden, without products.
template <class T>
void cell_backward(benchmark::State& state) {
  const Kernels<T>& kernels = active_kernels<T>();
  const Index rows = state.range(0), hidden = padded(state.range(1), kernels.lanes);
  const Matrix<T> dy(rows, hidden), dh(rows, hidden), c_prev(rows, hidden), c(rows, hidden);
  Matrix<T> dc(rows, hidden), gates(rows, 4 * hidden);
  lstmcore::kernels::StepBackward<T> s{};
  s.rows = rows;
  s.hidden = hidden;
  s.block_end = hidden / kernels.lanes;
  s.dy = dy.constant();
  s.dh = dh.constant();
  s.dc = dc.rows.data();
  s.c_prev = c_prev.constant();
  s.c = c.constant();
  s.gates = gates.constant();
  s.dgates = gates.rows.data();
  for (auto _ : state) {
    kernels.step_backward(s);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * rows * hidden);
}

/// The activations of the cell's forward over n elements.
template <class T>
void activation(benchmark::State& state, void (*Kernels<T>::*function)(const T*, T*, Index)) {
  const Index n = state.range(0);
  const Matrix<T> x(1, n);
  std::vector<T> y(x.values.size());
  for (auto _ : state) {
    (active_kernels<T>().*function)(x.values.data(), y.data(), n);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * n);
}

template <class T>
void sigmoid(benchmark::State& state) {
  activation<T>(state, &Kernels<T>::sigmoid);
}

template <class T>
void tanh(benchmark::State& state) {
  activation<T>(state, &Kernels<T>::tanh);
}

/// One layer over T steps; with the backward if `Training`.
template <class T, bool Training>
void walk(benchmark::State& state) {
  lstmcore::set_num_threads(1);
  const Index steps = state.range(0), batch = state.range(1), inputs = state.range(2), hidden = state.range(3);
  lstmcore::LstmConfig config;
  config.input_size = inputs;
  config.hidden_size = hidden;
  const Matrix<T> input(4 * hidden, inputs), recurrent(4 * hidden, hidden), bias(1, 4 * hidden);
  const lstmcore::Lstm<T> lstm(config, {{{input.values.data(), {4 * hidden, inputs}},
                                         {recurrent.values.data(), {4 * hidden, hidden}},
                                         {bias.values.data(), {4 * hidden}}}});
  Matrix<T> x(batch * steps, inputs), y(batch * steps, hidden), dx(batch * steps, inputs);
  Matrix<T> d_input(4 * hidden, inputs), d_recurrent(4 * hidden, hidden), d_bias(1, 4 * hidden);
  const lstmcore::View<const T, 3> x_view(x.values.data(), {batch, steps, inputs});
  const lstmcore::View<T, 3> y_view(y.values.data(), {batch, steps, hidden});
  const lstmcore::LstmSequence<T> sequence(x_view);
  lstmcore::LstmTape<T> tape;
  lstmcore::LstmOutputGradients<T> outputs;
  outputs.y = y_view;
  lstmcore::LstmInputGradients<T> gradients;
  gradients.x = {dx.values.data(), {batch, steps, inputs}};
  gradients.weights = {{{d_input.values.data(), {4 * hidden, inputs}},
                        {d_recurrent.values.data(), {4 * hidden, hidden}},
                        {d_bias.values.data(), {4 * hidden}}}};
  for (auto _ : state) {
    if (Training) {
      lstm.forward(sequence, y_view, {}, tape);
      lstm.backward(tape, outputs, gradients);
    } else {
      lstm.forward(sequence, y_view, {});
    }
    benchmark::ClobberMemory();
  }
  count_flops(state, (Training ? 3.0 : 1.0) * 8.0 * static_cast<double>(steps * batch * hidden * (inputs + hidden)));
}

// One row, a full tile, and many rows; depths that fit the first-level cache, the second-level cache, and neither.
BENCHMARK_TEMPLATE(product, float)
    ->ArgNames({"rows", "depth", "columns"})
    ->ArgsProduct({{1, 6, 32, 192}, {64, 256, 1024}, {512}});
BENCHMARK_TEMPLATE(product, double)->ArgNames({"rows", "depth", "columns"})->ArgsProduct({{1, 32}, {256}, {512}});
BENCHMARK_TEMPLATE(transposed_product, float)
    ->ArgNames({"rows", "depth", "columns"})
    ->ArgsProduct({{128, 512}, {192}, {512, 2048}});
BENCHMARK_TEMPLATE(cell_backward, float)->ArgNames({"rows", "hidden"})->ArgsProduct({{1, 32}, {64, 512}});
BENCHMARK_TEMPLATE(sigmoid, float)->ArgName("n")->Arg(4096);
BENCHMARK_TEMPLATE(sigmoid, double)->ArgName("n")->Arg(4096);
BENCHMARK_TEMPLATE(tanh, float)->ArgName("n")->Arg(4096);
BENCHMARK_TEMPLATE(tanh, double)->ArgName("n")->Arg(4096);
BENCHMARK_TEMPLATE(walk, float, false)
    ->ArgNames({"T", "N", "C", "H"})
    ->Args({100, 1, 32, 64})
    ->Args({100, 32, 128, 128});
BENCHMARK_TEMPLATE(walk, float, true)
    ->ArgNames({"T", "N", "C", "H"})
    ->Args({100, 1, 32, 64})
    ->Args({100, 32, 128, 128});

}  // namespace

BENCHMARK_MAIN();
