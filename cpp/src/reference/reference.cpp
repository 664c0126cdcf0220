#include "reference.hpp"

#include <algorithm>
#include <cmath>

#include "philox.hpp"

namespace lstmcore::reference {
namespace {

using Index = std::int64_t;

template <class T>
T sigmoid(T x) {
  return T(1) / (T(1) + std::exp(-x));
}

// ---- the order of the walk ------------------------------------------------------------------------------------------

template <class T>
Index length_of(const LstmSequence<T>& sequence, Index n) {
  return sequence.lengths ? sequence.lengths(n) : sequence.x.shape[1];
}

bool walks_from_end(const LstmConfig& config, Index direction) { return direction == 1 || config.go_backwards; }

template <class T>
bool is_valid(const LstmSequence<T>& sequence, Index n, Index t) {  // a valid step: not masked out
  return !sequence.mask || sequence.mask(n, t);
}

// Whether the state is reset at step t of row n, or at one of the masked steps just before it.
template <class T>
bool is_reset(const LstmSequence<T>& sequence, Index n, Index t) {
  if (!sequence.reset) return false;
  if (sequence.reset(n, t)) return true;
  for (Index before = t - 1; before >= 0 && !is_valid(sequence, n, before); --before) {
    if (sequence.reset(n, before)) return true;
  }
  return false;
}

// ---- activations ----------------------------------------------------------------------------------------------------

// The cheaper tanh. Its coefficients define it, so that they are the same as in the kernels.
template <class T>
T fast_tanh(T x) {
  const T bounded = std::min(std::max(x, T(-6.1)), T(6.1)), z = bounded * bounded;
  const T p = T(0.9999540214298578) + z * (T(0.11352077489227884) + z * T(0.001437330937520413));
  const T q = 1 + z * (T(0.4467145159758759) + z * (T(0.01713556587772853) + z * T(5.1602638939356574e-05)));
  return bounded * p / q;
}
template <class T>
T fast_sigmoid(T x) {
  return T(0.5) + T(0.5) * fast_tanh(x / 2);
}

template <class T>
T activate(const LstmActivation& activation, T x) {
  const T alpha = static_cast<T>(activation.alpha), beta = static_cast<T>(activation.beta);
  switch (activation.function) {
    case LstmFunction::sigmoid:
      return sigmoid(x);
    case LstmFunction::tanh:
      return std::tanh(x);
    case LstmFunction::relu:
      return x > 0 ? x : T(0);
    case LstmFunction::leaky_relu:
      return x > 0 ? x : alpha * x;
    case LstmFunction::elu:
      return x > 0 ? x : alpha * std::expm1(x);
    case LstmFunction::hard_sigmoid:
      return std::min(std::max(alpha * x + beta, T(0)), T(1));
    case LstmFunction::softsign:
      return x / (1 + std::abs(x));
    case LstmFunction::softplus:
      return std::max(x, T(0)) + std::log1p(std::exp(-std::abs(x)));
    case LstmFunction::affine:
      return alpha * x + beta;
    case LstmFunction::scaled_tanh:
      return alpha * std::tanh(beta * x);
    case LstmFunction::thresholded_relu:
      return x > alpha ? x : T(0);
    case LstmFunction::fast_sigmoid:
      return fast_sigmoid(x);
    case LstmFunction::fast_tanh:
      return fast_tanh(x);
    case LstmFunction::linear:
      return x;
  }
  return x;
}

template <class T>
T slope(const LstmActivation& activation, T x) {
  const T alpha = static_cast<T>(activation.alpha), beta = static_cast<T>(activation.beta);
  switch (activation.function) {
    case LstmFunction::sigmoid:
      return sigmoid(x) * (1 - sigmoid(x));
    case LstmFunction::tanh:
      return 1 - std::tanh(x) * std::tanh(x);
    case LstmFunction::relu:
      return x > 0 ? T(1) : T(0);
    case LstmFunction::leaky_relu:
      return x > 0 ? T(1) : alpha;
    case LstmFunction::elu:
      return x > 0 ? T(1) : alpha * std::exp(x);
    case LstmFunction::hard_sigmoid:
      return alpha * x + beta > 0 && alpha * x + beta < 1 ? alpha : T(0);
    case LstmFunction::softsign:
      return 1 / ((1 + std::abs(x)) * (1 + std::abs(x)));
    case LstmFunction::softplus:
      return sigmoid(x);
    case LstmFunction::affine:
      return alpha;
    case LstmFunction::scaled_tanh:
      return alpha * beta * (1 - std::tanh(beta * x) * std::tanh(beta * x));
    case LstmFunction::thresholded_relu:
      return x > alpha ? T(1) : T(0);
    case LstmFunction::fast_sigmoid:  // of the functions that these approximate, from the value, by definition
      return fast_sigmoid(x) * (1 - fast_sigmoid(x));
    case LstmFunction::fast_tanh:
      return 1 - fast_tanh(x) * fast_tanh(x);
    case LstmFunction::linear:
      return T(1);
  }
  return T(1);
}

// x within [-limit, limit]; 0: no limit.
template <class T>
T bounded(T x, double limit) {
  if (limit == 0) return x;
  const T bound = static_cast<T>(limit);
  return x > bound ? bound : x < -bound ? -bound : x;
}
template <class T>
bool inside(T x, double limit) {
  return limit == 0 || std::abs(x) < static_cast<T>(limit);
}

// ---- one step -------------------------------------------------------------------------------------------------------

// The random masks of one row of one layer and direction, while training; nothing at inference.
template <class T>
struct Masks {
  std::vector<T> h_factor;                              // recurrent dropout, (H), with a projection (P)
  std::vector<std::vector<bool>> zoneout_h, zoneout_c;  // zoneout, [t][u]
};

template <class T>
Masks<T> make_masks(const LstmConfig& config, std::uint64_t seed, Index cell, Index n, Index N, Index steps) {
  const Index H = config.hidden_size, S = config.state_size();
  const auto stream = [&](std::uint64_t kind) { return mask_stream(seed, kind, static_cast<std::uint64_t>(cell)); };
  Masks<T> masks;
  for (Index u = 0; u < S; ++u) {
    const bool kept = dropout_keeps(stream(3), n * S + u, config.recurrent_dropout);
    masks.h_factor.push_back(kept ? static_cast<T>(1 / (1 - config.recurrent_dropout)) : T(0));
  }
  masks.zoneout_h.resize(static_cast<std::size_t>(steps));
  masks.zoneout_c.resize(static_cast<std::size_t>(steps));
  for (Index t = 0; t < steps; ++t) {
    for (Index u = 0; u < S; ++u) {
      const Index place = (t * N + n) * S + u;
      masks.zoneout_h[t].push_back(config.zoneout_h > 0 && dropout_keeps(stream(1), place, 1 - config.zoneout_h));
    }
    for (Index u = 0; u < H; ++u) {
      const Index place = (t * N + n) * H + u;
      masks.zoneout_c[t].push_back(config.zoneout_c > 0 && dropout_keeps(stream(2), place, 1 - config.zoneout_c));
    }
  }
  return masks;
}

// Normalizes the values from `first` on.
template <class T>
Norm<T> norm(const std::vector<T>& x, std::size_t first, double epsilon) {
  const T count = static_cast<T>(x.size() - first);
  T mean = 0, variance = 0;
  for (std::size_t k = first; k < x.size(); ++k) mean += x[k] / count;
  for (std::size_t k = first; k < x.size(); ++k) variance += (x[k] - mean) * (x[k] - mean) / count;
  Norm<T> result;
  result.scale = 1 / std::sqrt(variance + static_cast<T>(epsilon));
  for (std::size_t k = 0; k < x.size(); ++k) result.normed.push_back(k < first ? T(0) : (x[k] - mean) * result.scale);
  return result;
}

// Computes the gradient with respect to the values from the one with respect to the normed values.
template <class T>
std::vector<T> dnorm(const Norm<T>& norm, std::size_t first, const std::vector<T>& by_normed) {
  const T count = static_cast<T>(by_normed.size() - first);
  T mean = 0, along = 0;
  for (std::size_t k = first; k < by_normed.size(); ++k) {
    mean += by_normed[k] / count;
    along += by_normed[k] * norm.normed[k] / count;
  }
  std::vector<T> by_x(by_normed.size(), T(0));
  for (std::size_t k = first; k < by_x.size(); ++k) {
    by_x[k] = norm.scale * (by_normed[k] - mean - norm.normed[k] * along);
  }
  return by_x;
}

// h (S) and c (H): before the step (in), after it (out).
template <class T>
void cell(const LstmConfig& config, const LstmCellWeights<const T>& w, const T* x, Index C, const Masks<T>* masks,
          Index t, T* h, T* c, StepTape<T>* tape) {
  const Index H = config.hidden_size, S = config.state_size();
  const auto used =
      static_cast<std::size_t>(config.coupled_gates ? H : 0);  // coupled gates: the norms leave out the rows of i
  StepTape<T> kept;
  kept.h_prev.assign(h, h + S);
  kept.c_prev.assign(c, c + H);
  for (Index u = 0; masks != nullptr && u < S; ++u) kept.h_prev[u] *= masks->h_factor[u];
  std::vector<T> from_x, from_h;  // W x and U h', (4H)
  for (Index r = 0; r < 4 * H; ++r) {
    T sum = 0;
    for (Index k = 0; k < C; ++k) sum += w.weight_ih(r, k) * x[k];
    from_x.push_back(sum);
    sum = 0;
    for (Index k = 0; k < S; ++k) sum += w.weight_hh(r, k) * kept.h_prev[k];
    from_h.push_back(sum);
  }
  if (config.layer_norm) {
    kept.norm_x = norm(from_x, used, config.layer_norm_epsilon);
    kept.norm_h = norm(from_h, used, config.layer_norm_epsilon);
    for (Index r = 0; r < 4 * H; ++r) {
      from_x[r] = w.gain_ih(r) * kept.norm_x.normed[r];
      from_h[r] = w.gain_hh(r) * kept.norm_h.normed[r];
    }
  }
  const auto gate = [&](T z) { return activate(config.gate_activation, bounded(z, config.gate_clip)); };
  std::vector<T> z[4];
  for (Index k = 0; k < 4; ++k) {
    for (Index u = 0; u < H; ++u) {
      const Index r = k * H + u;
      z[k].push_back((w.bias ? w.bias(r) : T(0)) + from_x[r] + from_h[r]);
    }
  }
  for (Index u = 0; u < H; ++u) {
    if (config.peephole) z[0][u] += w.peephole(u) * c[u];
    if (config.peephole) z[1][u] += w.peephole(H + u) * c[u];
    const T f = gate(z[1][u]);
    const T i = config.coupled_gates ? 1 - f : gate(z[0][u]);
    const T g = activate(config.cell_activation, bounded(z[2][u], config.gate_clip));
    kept.free_c.push_back(f * c[u] + i * g);
    kept.c.push_back(bounded(kept.free_c[u], config.cell_clip));
    if (config.peephole) z[3][u] += w.peephole(2 * H + u) * kept.c[u];
    kept.i.push_back(i);
    kept.f.push_back(f);
    kept.g.push_back(g);
    kept.o.push_back(gate(z[3][u]));
  }
  for (Index k = 0; k < 4; ++k) kept.z[k] = z[k];
  kept.r = kept.c;
  if (config.layer_norm) {
    kept.norm_c = norm(kept.c, 0, config.layer_norm_epsilon);
    for (Index u = 0; u < H; ++u) {
      kept.r[u] = w.gain_c(u) * kept.norm_c.normed[u] + (w.bias_c ? w.bias_c(u) : T(0));
    }
  }
  for (Index u = 0; u < H; ++u) {
    kept.m.push_back(kept.o[u] * activate(config.output_activation, bounded(kept.r[u], config.output_clip)));
  }
  std::vector<T> new_h = kept.m;
  if (config.proj_size > 0) {
    new_h.clear();
    for (Index p = 0; p < S; ++p) {
      T sum = 0;
      for (Index k = 0; k < H; ++k) sum += w.weight_hr(p, k) * kept.m[k];
      kept.free_r.push_back(sum);
      new_h.push_back(bounded(sum, config.proj_clip));
    }
  }
  const T share_c = static_cast<T>(config.zoneout_c), share_h = static_cast<T>(config.zoneout_h);
  for (Index u = 0; u < H; ++u) {
    if (masks == nullptr) {
      c[u] = share_c * c[u] + (1 - share_c) * kept.c[u];
    } else if (!masks->zoneout_c[t][u]) {
      c[u] = kept.c[u];
    }
  }
  for (Index u = 0; u < S; ++u) {
    if (masks == nullptr) {
      h[u] = share_h * h[u] + (1 - share_h) * new_h[u];
    } else if (!masks->zoneout_h[t][u]) {
      h[u] = new_h[u];
    }
  }
  if (tape != nullptr) *tape = kept;
}

// dh (S) and dc (H): with respect to the state after step t (in), before it (out). dx and dw are added to.
template <class T>
void dcell(const LstmConfig& config, const LstmCellWeights<const T>& w, const T* x, Index C, const Masks<T>& masks,
           Index t, const StepTape<T>& tape, T* dh, T* dc, T* dx, const LstmCellWeights<T>& dw) {
  const Index H = config.hidden_size, S = config.state_size();
  const auto used = static_cast<std::size_t>(config.coupled_gates ? H : 0);
  std::vector<T> dz(4 * H);        // with respect to the gates' pre-activations
  std::vector<T> dh_before(S, 0);  // with respect to h before the step, through zoneout
  std::vector<T> dm(dh, dh + S);   // with respect to the projection's argument, or to h
  for (Index u = 0; u < S; ++u) {
    if (masks.zoneout_h[t][u]) std::swap(dh_before[u], dm[u]);
  }
  if (config.proj_size > 0) {
    const std::vector<T> by_h = dm;
    dm.assign(static_cast<std::size_t>(H), 0);
    for (Index p = 0; p < S; ++p) {
      if (!inside(tape.free_r[p], config.proj_clip)) continue;
      for (Index k = 0; k < H; ++k) {
        dm[k] += w.weight_hr(p, k) * by_h[p];
        if (dw.weight_hr) dw.weight_hr(p, k) += by_h[p] * tape.m[k];
      }
    }
  }
  std::vector<T> by_c(static_cast<std::size_t>(H));  // with respect to c, through h
  for (Index u = 0; u < H; ++u) {
    const T r = tape.r[u];
    if (inside(r, config.output_clip)) by_c[u] = dm[u] * tape.o[u] * slope(config.output_activation, r);
  }
  if (config.layer_norm) {
    for (Index u = 0; u < H; ++u) {
      if (dw.gain_c) dw.gain_c(u) += by_c[u] * tape.norm_c.normed[u];
      if (dw.bias_c) dw.bias_c(u) += by_c[u];
      by_c[u] *= w.gain_c(u);
    }
    by_c = dnorm(tape.norm_c, 0, by_c);
  }
  const auto by_z = [&](const LstmActivation& activation, Index gate, Index u) {
    const T z = tape.z[gate][u];
    return inside(z, config.gate_clip) ? slope(activation, bounded(z, config.gate_clip)) : T(0);
  };
  for (Index u = 0; u < H; ++u) {
    const T i = tape.i[u], f = tape.f[u], g = tape.g[u], c = tape.c[u], c_prev = tape.c_prev[u];
    T d_c = dc[u], dc_before = 0;
    if (masks.zoneout_c[t][u]) std::swap(dc_before, d_c);
    dz[3 * H + u] = dm[u] * activate(config.output_activation, bounded(tape.r[u], config.output_clip)) *
                    by_z(config.gate_activation, 3, u);
    d_c += by_c[u];
    if (config.peephole) d_c += dz[3 * H + u] * w.peephole(2 * H + u);
    if (!inside(tape.free_c[u], config.cell_clip)) d_c = 0;
    const T d_i = d_c * g, d_f = d_c * c_prev - (config.coupled_gates ? d_i : T(0));
    dz[0 * H + u] = config.coupled_gates ? T(0) : d_i * by_z(config.gate_activation, 0, u);
    dz[1 * H + u] = d_f * by_z(config.gate_activation, 1, u);
    dz[2 * H + u] = d_c * i * by_z(config.cell_activation, 2, u);
    dc_before += d_c * f;
    if (config.peephole) dc_before += dz[0 * H + u] * w.peephole(u) + dz[1 * H + u] * w.peephole(H + u);
    if (dw.peephole) {
      dw.peephole(u) += dz[0 * H + u] * c_prev;
      dw.peephole(H + u) += dz[1 * H + u] * c_prev;
      dw.peephole(2 * H + u) += dz[3 * H + u] * c;
    }
    dc[u] = dc_before;
  }
  std::vector<T> by_x = dz, by_h = dz;  // with respect to W x and U h'
  for (Index r = 0; r < 4 * H; ++r) {
    if (dw.bias) dw.bias(r) += dz[r];
    if (!config.layer_norm) continue;
    if (dw.gain_ih) dw.gain_ih(r) += dz[r] * tape.norm_x.normed[r];
    if (dw.gain_hh) dw.gain_hh(r) += dz[r] * tape.norm_h.normed[r];
    by_x[r] *= w.gain_ih(r);
    by_h[r] *= w.gain_hh(r);
  }
  if (config.layer_norm) {
    by_x = dnorm(tape.norm_x, used, by_x);
    by_h = dnorm(tape.norm_h, used, by_h);
  }
  std::fill(dh, dh + S, T(0));
  for (Index r = 0; r < 4 * H; ++r) {
    for (Index k = 0; k < C; ++k) {
      dx[k] += w.weight_ih(r, k) * by_x[r];
      if (dw.weight_ih) dw.weight_ih(r, k) += by_x[r] * x[k];
    }
    for (Index k = 0; k < S; ++k) {
      dh[k] += w.weight_hh(r, k) * by_h[r];
      if (dw.weight_hh) dw.weight_hh(r, k) += by_h[r] * tape.h_prev[k];
    }
  }
  for (Index u = 0; u < S; ++u) dh[u] = dh[u] * masks.h_factor[u] + dh_before[u];
}

// ---- one row of one layer and direction -----------------------------------------------------------------------------

// x: (T, C) of the row. h (S) and c (H): the initial state (in), the final one (out). Outputs go to y + t * y_stride.
template <class T>
void row(const LstmConfig& config, const LstmCellWeights<const T>& w, const LstmSequence<T>& sequence, Index n,
         Index direction, const Masks<T>* masks, const T* x, Index C, T* h, T* c, T* y, Index y_stride,
         std::vector<StepTape<T>>& tape) {
  const Index H = config.hidden_size, S = config.state_size(), length = length_of(sequence, n);
  const bool from_end = walks_from_end(config, direction);
  const auto zero_state = [&] {
    std::fill(h, h + S, T(0));
    std::fill(c, c + H, T(0));
  };
  tape.resize(static_cast<std::size_t>(length));
  for (Index s = 0; s < length; ++s) {
    const Index t = from_end ? length - 1 - s : s;
    if (!is_valid(sequence, n, t)) continue;
    if (!from_end && is_reset(sequence, n, t)) zero_state();
    cell(config, w, x + t * C, C, masks, t, h, c, &tape[t]);
    for (Index u = 0; u < S; ++u) y[t * y_stride + u] = h[u];
    if (from_end && is_reset(sequence, n, t)) zero_state();
  }
}

// dh (S) and dc (H): with respect to the final state (in), the initial one (out). dx (T, C) and dw are added to.
template <class T>
void drow(const LstmConfig& config, const LstmCellWeights<const T>& w, const LstmSequence<T>& sequence, Index n,
          Index direction, const Masks<T>& masks, const T* x, Index C, T* dh, T* dc, const T* dy, Index dy_stride,
          const std::vector<StepTape<T>>& tape, T* dx, const LstmCellWeights<T>& dw) {
  const Index H = config.hidden_size, S = config.state_size(), length = length_of(sequence, n);
  const bool from_end = walks_from_end(config, direction);
  const auto zero_state = [&] {
    std::fill(dh, dh + S, T(0));
    std::fill(dc, dc + H, T(0));
  };
  for (Index s = length - 1; s >= 0; --s) {
    const Index t = from_end ? length - 1 - s : s;
    if (!is_valid(sequence, n, t)) continue;
    if (from_end && is_reset(sequence, n, t)) zero_state();
    for (Index u = 0; u < S; ++u) dh[u] += dy[t * dy_stride + u];
    dcell(config, w, x + t * C, C, masks, t, tape[t], dh, dc, dx + t * C, dw);
    if (!from_end && is_reset(sequence, n, t)) zero_state();
  }
}

// ---- dropout --------------------------------------------------------------------------------------------------------

// Forward and backward are the same. values (N, T, D * S): the output of `layer`, or the gradient with respect to it.
template <class T>
void dropout(const LstmConfig& config, std::uint64_t seed, Index layer, std::vector<T>& values) {
  const std::uint64_t count = values.size(), first = static_cast<std::uint64_t>(layer) * count;
  for (std::uint64_t k = 0; k < count; ++k) {
    const bool kept = dropout_keeps(seed, first + k, config.dropout);
    values[k] = kept ? values[k] / static_cast<T>(1 - config.dropout) : T(0);
  }
}

// Forward and backward are the same. values (N, T, C): x, or the gradient with respect to it. One mask per row for all
// steps.
template <class T>
void input_dropout(const LstmConfig& config, std::uint64_t seed, Index N, Index steps, std::vector<T>& values) {
  const Index C = config.input_size;
  for (Index n = 0; n < N; ++n) {
    for (Index k = 0; k < C; ++k) {
      if (config.input_dropout == 0) continue;
      const bool kept = dropout_keeps(mask_stream(seed, 4, 0), n * C + k, config.input_dropout);
      for (Index t = 0; t < steps; ++t) {
        T& value = values[(n * steps + t) * C + k];
        value = kept ? value / static_cast<T>(1 - config.input_dropout) : T(0);
      }
    }
  }
}

// ---- views, any of which may be absent ------------------------------------------------------------------------------

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
void zero(const LstmCellWeights<T>& dw, Index C, Index H, Index S) {
  for (Index r = 0; r < 4 * H; ++r) {
    for (Index k = 0; dw.weight_ih && k < C; ++k) dw.weight_ih(r, k) = 0;
    for (Index k = 0; dw.weight_hh && k < S; ++k) dw.weight_hh(r, k) = 0;
    if (dw.bias) dw.bias(r) = 0;
  }
  for (Index r = 0; dw.peephole && r < 3 * H; ++r) dw.peephole(r) = 0;
  for (Index r = 0; dw.gain_ih && r < 4 * H; ++r) dw.gain_ih(r) = 0;
  for (Index r = 0; dw.gain_hh && r < 4 * H; ++r) dw.gain_hh(r) = 0;
  for (Index r = 0; dw.gain_c && r < H; ++r) dw.gain_c(r) = 0;
  for (Index r = 0; dw.bias_c && r < H; ++r) dw.bias_c(r) = 0;
  for (Index p = 0; dw.weight_hr && p < S; ++p) {
    for (Index k = 0; k < H; ++k) dw.weight_hr(p, k) = 0;
  }
}

// Forward: weight_hh of entry `cell`, (4H, S), with dropout. Backward: from the gradient with respect to that, the one
// with respect to weight_hh.
template <class T>
std::vector<T> drop_weights(const LstmConfig& config, std::uint64_t seed, Index cell, const View<const T, 2>& matrix) {
  std::vector<T> values;
  for (Index r = 0; r < matrix.shape[0]; ++r) {
    for (Index k = 0; k < matrix.shape[1]; ++k) {
      const bool kept =
          dropout_keeps(mask_stream(seed, 5, static_cast<std::uint64_t>(cell)), values.size(), config.weight_dropout);
      values.push_back(kept ? matrix(r, k) / static_cast<T>(1 - config.weight_dropout) : T(0));
    }
  }
  return values;
}

}  // namespace

// ---- all layers -----------------------------------------------------------------------------------------------------

template <class T>
void lstm(const LstmConfig& config, const LstmWeights<T>& weights, const LstmSequence<T>& sequence, View<T, 3> y,
          const LstmState<T>& state, Tape<T>* tape) {
  const Index N = sequence.x.shape[0], steps = sequence.x.shape[1], H = config.hidden_size;
  const Index S = config.state_size(), L = config.num_layers, D = config.directions();
  std::vector<T> h = copy_of(state.h, L * D, N, S), c = copy_of(state.c, L * D, N, H);
  std::vector<T> input = copy_of(sequence.x, N, steps, config.input_size);
  if (tape != nullptr) input_dropout(config, sequence.seed, N, steps, input);
  Tape<T> kept;
  kept.step.resize(static_cast<std::size_t>(L * D));
  for (Index layer = 0; layer < L; ++layer) {
    const Index C = config.layer_input_size(layer);
    std::vector<T> output(N * steps * D * S, T(0));
    for (Index cell = layer * D; cell < (layer + 1) * D; ++cell) {
      const Index direction = cell % D;
      LstmCellWeights<const T> w = weights[cell];
      const std::vector<T> dropped = drop_weights(config, sequence.seed, cell, w.weight_hh);
      if (tape != nullptr) w.weight_hh = {dropped.data(), w.weight_hh.shape};
      kept.step[cell].resize(static_cast<std::size_t>(N));
      for (Index n = 0; n < N; ++n) {
        const Masks<T> masks = make_masks<T>(config, sequence.seed, cell, n, N, steps);
        row(config, w, sequence, n, direction, tape != nullptr ? &masks : nullptr, input.data() + n * steps * C, C,
            h.data() + (cell * N + n) * S, c.data() + (cell * N + n) * H,
            output.data() + n * steps * D * S + direction * S, D * S, kept.step[cell][n]);
      }
    }
    if (tape != nullptr && config.dropout > 0 && layer + 1 < L) dropout(config, sequence.seed, layer, output);
    kept.input.push_back(std::move(input));
    input = std::move(output);
  }
  write(input, y, N, steps, D * S);
  write(h, state.h, L * D, N, S);
  write(c, state.c, L * D, N, H);
  if (tape != nullptr) *tape = std::move(kept);
}

template <class T>
void dlstm(const LstmConfig& config, const LstmWeights<T>& weights, const LstmSequence<T>& sequence,
           const Tape<T>& tape, const LstmOutputGradients<T>& outputs, const LstmInputGradients<T>& inputs) {
  const Index N = sequence.x.shape[0], steps = sequence.x.shape[1], H = config.hidden_size;
  const Index S = config.state_size(), L = config.num_layers, D = config.directions();
  std::vector<T> dh = copy_of(outputs.h, L * D, N, S), dc = copy_of(outputs.c, L * D, N, H);
  std::vector<T> doutput = copy_of(outputs.y, N, steps, D * S);
  for (Index layer = L - 1; layer >= 0; --layer) {
    const Index C = config.layer_input_size(layer);
    if (config.dropout > 0 && layer + 1 < L) dropout(config, sequence.seed, layer, doutput);
    std::vector<T> dinput(N * steps * C, T(0));
    for (Index cell = layer * D; cell < (layer + 1) * D; ++cell) {
      const Index direction = cell % D;
      const LstmCellWeights<T> dw = inputs.weights.empty() ? LstmCellWeights<T>{} : inputs.weights[cell];
      zero(dw, C, H, S);
      LstmCellWeights<const T> w = weights[cell];
      const std::vector<T> dropped = drop_weights(config, sequence.seed, cell, w.weight_hh);
      w.weight_hh = {dropped.data(), w.weight_hh.shape};
      for (Index n = 0; n < N; ++n) {
        const Masks<T> masks = make_masks<T>(config, sequence.seed, cell, n, N, steps);
        drow(config, w, sequence, n, direction, masks, tape.input[layer].data() + n * steps * C, C,
             dh.data() + (cell * N + n) * S, dc.data() + (cell * N + n) * H,
             doutput.data() + n * steps * D * S + direction * S, D * S, tape.step[cell][n],
             dinput.data() + n * steps * C, dw);
      }
      if (dw.weight_hh) {
        const std::vector<T> by_all = drop_weights(config, sequence.seed, cell, View<const T, 2>(dw.weight_hh));
        for (Index r = 0; r < 4 * H; ++r) {
          for (Index k = 0; k < S; ++k) dw.weight_hh(r, k) = by_all[r * S + k];
        }
      }
    }
    doutput = std::move(dinput);
  }
  input_dropout(config, sequence.seed, N, steps, doutput);
  write(doutput, inputs.x, N, steps, config.input_size);
  write(dh, inputs.h, L * D, N, S);
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
