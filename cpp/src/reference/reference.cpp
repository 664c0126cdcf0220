#include "reference.hpp"

#include <cmath>

#include "philox.hpp"

namespace lstmcore::reference {
namespace {

using Index = std::int64_t;

template <class T>
T sigmoid(T x) {
  return T(1) / (T(1) + std::exp(-x));
}

// ---- the order of the walk
// -------------------------------------------------------------------------------------------

template <class T>
Index length_of(const LstmSequence<T>& sequence, Index n) {
  return sequence.lengths ? sequence.lengths(n) : sequence.x.shape[1];
}

bool walks_from_end(const LstmConfig& config, Index direction) { return direction == 1 || config.go_backwards; }

template <class T>
bool is_reset(const LstmSequence<T>& sequence, Index n, Index t) {
  return sequence.reset && sequence.reset(n, t);
}

// ---- one step
// --------------------------------------------------------------------------------------------------------

// h and c, (H): in before the step, out after it.
template <class T>
void cell(const LstmCellWeights<const T>& w, const T* x, Index C, Index H, T* h, T* c, StepTape<T>* tape) {
  const auto row = [&](Index gate, Index u) {
    const Index r = gate * H + u;
    T sum = w.bias(r);
    for (Index k = 0; k < C; ++k) sum += w.weight_ih(r, k) * x[k];
    for (Index k = 0; k < H; ++k) sum += w.weight_hh(r, k) * h[k];
    return sum;
  };
  StepTape<T> kept;
  kept.h_prev.assign(h, h + H);
  kept.c_prev.assign(c, c + H);
  for (Index u = 0; u < H; ++u) {
    kept.i.push_back(sigmoid(row(0, u)));
    kept.f.push_back(sigmoid(row(1, u)));
    kept.g.push_back(std::tanh(row(2, u)));
    kept.o.push_back(sigmoid(row(3, u)));
  }
  for (Index u = 0; u < H; ++u) {
    c[u] = kept.f[u] * c[u] + kept.i[u] * kept.g[u];
    h[u] = kept.o[u] * std::tanh(c[u]);
  }
  kept.c.assign(c, c + H);
  if (tape != nullptr) *tape = kept;
}

// dh and dc, (H): in by the state after the step, out by the state before it. dx and dw are added to.
template <class T>
void dcell(const LstmCellWeights<const T>& w, const T* x, Index C, Index H, const StepTape<T>& tape, T* dh, T* dc,
           T* dx, const LstmCellWeights<T>& dw) {
  std::vector<T> dz(4 * H);  // by the gates' pre-activations
  for (Index u = 0; u < H; ++u) {
    const T i = tape.i[u], f = tape.f[u], g = tape.g[u], o = tape.o[u], tanh_c = std::tanh(tape.c[u]);
    const T d_o = dh[u] * tanh_c;
    const T d_c = dc[u] + dh[u] * o * (1 - tanh_c * tanh_c);
    dz[0 * H + u] = d_c * g * i * (1 - i);
    dz[1 * H + u] = d_c * tape.c_prev[u] * f * (1 - f);
    dz[2 * H + u] = d_c * i * (1 - g * g);
    dz[3 * H + u] = d_o * o * (1 - o);
    dc[u] = d_c * f;
    dh[u] = 0;
  }
  for (Index r = 0; r < 4 * H; ++r) {
    for (Index k = 0; k < C; ++k) {
      dx[k] += w.weight_ih(r, k) * dz[r];
      if (dw.weight_ih) dw.weight_ih(r, k) += dz[r] * x[k];
    }
    for (Index k = 0; k < H; ++k) {
      dh[k] += w.weight_hh(r, k) * dz[r];
      if (dw.weight_hh) dw.weight_hh(r, k) += dz[r] * tape.h_prev[k];
    }
    if (dw.bias) dw.bias(r) += dz[r];
  }
}

// ---- one row of one layer and direction
// ------------------------------------------------------------------------------

// x (T, C) of the row. h and c, (H): in the initial state, out the final one. The row's outputs go to y + t * y_stride.
template <class T>
void row(const LstmConfig& config, const LstmCellWeights<const T>& w, const LstmSequence<T>& sequence, Index n,
         Index direction, const T* x, Index C, T* h, T* c, T* y, Index y_stride, std::vector<StepTape<T>>& tape) {
  const Index H = config.hidden_size, length = length_of(sequence, n);
  const bool from_end = walks_from_end(config, direction);
  const auto zero_state = [&] {
    for (Index u = 0; u < H; ++u) h[u] = c[u] = 0;
  };
  tape.resize(static_cast<std::size_t>(length));
  for (Index s = 0; s < length; ++s) {
    const Index t = from_end ? length - 1 - s : s;
    if (!from_end && is_reset(sequence, n, t)) zero_state();
    cell(w, x + t * C, C, H, h, c, &tape[t]);
    for (Index u = 0; u < H; ++u) y[t * y_stride + u] = h[u];
    if (from_end && is_reset(sequence, n, t)) zero_state();
  }
}

// dh and dc, (H): in by the final state, out by the initial one. dx (T, C) and dw are added to.
template <class T>
void drow(const LstmConfig& config, const LstmCellWeights<const T>& w, const LstmSequence<T>& sequence, Index n,
          Index direction, const T* x, Index C, T* dh, T* dc, const T* dy, Index dy_stride,
          const std::vector<StepTape<T>>& tape, T* dx, const LstmCellWeights<T>& dw) {
  const Index H = config.hidden_size, length = length_of(sequence, n);
  const bool from_end = walks_from_end(config, direction);
  const auto zero_state = [&] {
    for (Index u = 0; u < H; ++u) dh[u] = dc[u] = 0;
  };
  for (Index s = length - 1; s >= 0; --s) {
    const Index t = from_end ? length - 1 - s : s;
    if (from_end && is_reset(sequence, n, t)) zero_state();
    for (Index u = 0; u < H; ++u) dh[u] += dy[t * dy_stride + u];
    dcell(w, x + t * C, C, H, tape[t], dh, dc, dx + t * C, dw);
    if (!from_end && is_reset(sequence, n, t)) zero_state();
  }
}

// ---- dropout
// ---------------------------------------------------------------------------------------------------------

// Its own backward. values (N, T, D * H): the output of `layer`, or the gradient by it.
template <class T>
void dropout(const LstmConfig& config, std::uint64_t seed, Index layer, std::vector<T>& values) {
  const std::uint64_t count = values.size(), first = static_cast<std::uint64_t>(layer) * count;
  for (std::uint64_t k = 0; k < count; ++k) {
    const bool kept = dropout_keeps(seed, first + k, config.dropout);
    values[k] = kept ? values[k] / static_cast<T>(1 - config.dropout) : T(0);
  }
}

// ---- views, any of which may be absent
// -------------------------------------------------------------------------------

template <class T>
std::vector<std::remove_const_t<T>> copy_of(View<T, 3> view, Index a, Index b, Index c) {
  std::vector<std::remove_const_t<T>> values;
  for (Index i = 0; i < a; ++i) {
    for (Index j = 0; j < b; ++j) {
      for (Index k = 0; k < c; ++k) values.push_back(view ? view(i, j, k) : T(0));
    }
  }
  return values;
}

template <class T>
void write(const std::vector<T>& values, View<T, 3> view, Index a, Index b, Index c) {
  if (!view) return;
  for (Index i = 0; i < a; ++i) {
    for (Index j = 0; j < b; ++j) {
      for (Index k = 0; k < c; ++k) view(i, j, k) = values[(i * b + j) * c + k];
    }
  }
}

template <class T>
void zero(const LstmCellWeights<T>& dw, Index C, Index H) {
  for (Index r = 0; r < 4 * H; ++r) {
    for (Index k = 0; dw.weight_ih && k < C; ++k) dw.weight_ih(r, k) = 0;
    for (Index k = 0; dw.weight_hh && k < H; ++k) dw.weight_hh(r, k) = 0;
    if (dw.bias) dw.bias(r) = 0;
  }
}

}  // namespace

// ---- all layers
// ------------------------------------------------------------------------------------------------------

template <class T>
void lstm(const LstmConfig& config, const LstmWeights<T>& weights, const LstmSequence<T>& sequence, View<T, 3> y,
          const LstmState<T>& state, Tape<T>* tape) {
  const Index N = sequence.x.shape[0], steps = sequence.x.shape[1], H = config.hidden_size;
  const Index L = config.num_layers, D = config.directions();
  std::vector<T> h = copy_of(state.h, L * D, N, H), c = copy_of(state.c, L * D, N, H);
  std::vector<T> input = copy_of(sequence.x, N, steps, config.input_size);
  Tape<T> kept;
  kept.step.resize(static_cast<std::size_t>(L * D));
  for (Index layer = 0; layer < L; ++layer) {
    const Index C = config.layer_input_size(layer);
    std::vector<T> output(N * steps * D * H, T(0));
    for (Index cell = layer * D; cell < (layer + 1) * D; ++cell) {
      const Index direction = cell % D;
      kept.step[cell].resize(static_cast<std::size_t>(N));
      for (Index n = 0; n < N; ++n) {
        row(config, weights[cell], sequence, n, direction, input.data() + n * steps * C, C,
            h.data() + (cell * N + n) * H, c.data() + (cell * N + n) * H,
            output.data() + n * steps * D * H + direction * H, D * H, kept.step[cell][n]);
      }
    }
    if (tape != nullptr && config.dropout > 0 && layer + 1 < L) dropout(config, sequence.seed, layer, output);
    kept.input.push_back(std::move(input));
    input = std::move(output);
  }
  write(input, y, N, steps, D * H);
  write(h, state.h, L * D, N, H);
  write(c, state.c, L * D, N, H);
  if (tape != nullptr) *tape = std::move(kept);
}

template <class T>
void dlstm(const LstmConfig& config, const LstmWeights<T>& weights, const LstmSequence<T>& sequence,
           const Tape<T>& tape, const LstmOutputGradients<T>& outputs, const LstmInputGradients<T>& inputs) {
  const Index N = sequence.x.shape[0], steps = sequence.x.shape[1], H = config.hidden_size;
  const Index L = config.num_layers, D = config.directions();
  std::vector<T> dh = copy_of(outputs.h, L * D, N, H), dc = copy_of(outputs.c, L * D, N, H);
  std::vector<T> doutput = copy_of(outputs.y, N, steps, D * H);
  for (Index layer = L - 1; layer >= 0; --layer) {
    const Index C = config.layer_input_size(layer);
    if (config.dropout > 0 && layer + 1 < L) dropout(config, sequence.seed, layer, doutput);
    std::vector<T> dinput(N * steps * C, T(0));
    for (Index cell = layer * D; cell < (layer + 1) * D; ++cell) {
      const Index direction = cell % D;
      const LstmCellWeights<T> dw = inputs.weights.empty() ? LstmCellWeights<T>{} : inputs.weights[cell];
      zero(dw, C, H);
      for (Index n = 0; n < N; ++n) {
        drow(config, weights[cell], sequence, n, direction, tape.input[layer].data() + n * steps * C, C,
             dh.data() + (cell * N + n) * H, dc.data() + (cell * N + n) * H,
             doutput.data() + n * steps * D * H + direction * H, D * H, tape.step[cell][n],
             dinput.data() + n * steps * C, dw);
      }
    }
    doutput = std::move(dinput);
  }
  write(doutput, inputs.x, N, steps, config.input_size);
  write(dh, inputs.h, L * D, N, H);
  write(dc, inputs.c, L * D, N, H);
}

template void lstm<float>(const LstmConfig&, const LstmWeights<float>&, const LstmSequence<float>&, View<float, 3>,
                          const LstmState<float>&, Tape<float>*);
template void lstm<double>(const LstmConfig&, const LstmWeights<double>&, const LstmSequence<double>&, View<double, 3>,
                           const LstmState<double>&, Tape<double>*);
template void dlstm<float>(const LstmConfig&, const LstmWeights<float>&, const LstmSequence<float>&, const Tape<float>&,
                           const LstmOutputGradients<float>&, const LstmInputGradients<float>&);
template void dlstm<double>(const LstmConfig&, const LstmWeights<double>&, const LstmSequence<double>&,
                            const Tape<double>&, const LstmOutputGradients<double>&, const LstmInputGradients<double>&);

}  // namespace lstmcore::reference
