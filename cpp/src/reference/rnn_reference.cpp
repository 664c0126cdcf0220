#include "rnn_reference.hpp"

#include <algorithm>
#include <cmath>

namespace lstmcore::reference {
namespace {

using Index = std::int64_t;

/// The steps of row n in the order in which a direction visits them, and where its state is zeroed.
struct Walk {
  bool backwards;
  Index length;

  Index time(Index step) const { return backwards ? length - 1 - step : step; }
  /// Whether the state is zeroed before the step number `step`; `length` stands for after the last one.
  template <class Reset>
  bool zeroed(Index step, const Reset& reset) const {
    if (!backwards) return step < length && reset(time(step));
    return step > 0 && reset(time(step - 1));
  }
};

template <class T>
Walk walk_of(const RnnConfig& config, const LstmSequence<T>& sequence, Index direction, Index n) {
  const Index length = sequence.lengths ? sequence.lengths(n) : sequence.x.shape[1];
  return {config.go_backwards || direction == 1, length};
}

template <class T>
auto resets_of(const LstmSequence<T>& sequence, Index n) {
  return [&sequence, n](Index t) { return sequence.reset && sequence.reset(n, t); };
}

Index input_width(const RnnConfig& config, Index layer) {
  return layer == 0 ? config.input_size : config.output_size();
}

}  // namespace

template <class T>
void rnn(const RnnConfig& config, const std::vector<RnnCellWeights<const T>>& weights, const LstmSequence<T>& sequence,
         View<T, 3> y, View<T, 3> h, RnnTape<T>& tape) {
  const Index N = sequence.x.shape[0], steps = sequence.x.shape[1], H = config.hidden_size, Y = config.output_size();
  std::vector<T> input(static_cast<std::size_t>(N * steps * config.input_size));
  for (Index n = 0; n < N; ++n) {
    for (Index t = 0; t < walk_of(config, sequence, 0, n).length; ++t) {
      for (Index k = 0; k < config.input_size; ++k) {
        input[(n * steps + t) * config.input_size + k] = sequence.x(n, t, k);
      }
    }
  }
  tape = {};
  for (Index layer = 0; layer < config.num_layers; ++layer) {
    const Index C = input_width(config, layer);
    std::vector<T> output(static_cast<std::size_t>(N * steps * Y));
    for (Index direction = 0; direction < config.directions(); ++direction) {
      const Index cell = layer * config.directions() + direction;
      const RnnCellWeights<const T>& own = weights[cell];
      std::vector<T> before(static_cast<std::size_t>(N * steps * H)), after(before.size());
      for (Index n = 0; n < N; ++n) {
        const Walk walk = walk_of(config, sequence, direction, n);
        const auto reset = resets_of(sequence, n);
        std::vector<T> state(static_cast<std::size_t>(H));
        for (Index u = 0; u < H; ++u) state[u] = h ? h(cell, n, u) : T(0);
        for (Index step = 0; step < walk.length; ++step) {
          if (walk.zeroed(step, reset)) std::fill(state.begin(), state.end(), T(0));
          const Index at = n * steps + walk.time(step);
          std::copy(state.begin(), state.end(), before.begin() + at * H);
          for (Index u = 0; u < H; ++u) {
            T sum = own.bias ? own.bias(u) : T(0);
            for (Index k = 0; k < C; ++k) sum += own.weight_ih(u, k) * input[at * C + k];
            for (Index k = 0; k < H; ++k) sum += own.weight_hh(u, k) * before[at * H + k];
            state[u] = config.activation == LstmFunction::relu ? std::max(sum, T(0)) : std::tanh(sum);
            after[at * H + u] = output[at * Y + direction * H + u] = state[u];
          }
        }
        if (walk.zeroed(walk.length, reset)) std::fill(state.begin(), state.end(), T(0));
        for (Index u = 0; h && u < H; ++u) h(cell, n, u) = state[u];
      }
      tape.h_before.push_back(before);
      tape.after.push_back(after);
    }
    tape.input.push_back(input);
    input = output;
  }
  for (Index n = 0; n < N; ++n) {
    for (Index t = 0; t < steps; ++t) {
      for (Index u = 0; u < Y; ++u) y(n, t, u) = input[(n * steps + t) * Y + u];
    }
  }
}

template <class T>
void drnn(const RnnConfig& config, const std::vector<RnnCellWeights<const T>>& weights, const LstmSequence<T>& sequence,
          const RnnTape<T>& tape, const RnnOutputGradients<T>& outputs, const RnnInputGradients<T>& inputs) {
  const Index N = sequence.x.shape[0], steps = sequence.x.shape[1], H = config.hidden_size, Y = config.output_size();
  std::vector<T> dy(static_cast<std::size_t>(N * steps * Y));
  for (Index n = 0; outputs.y && n < N; ++n) {
    for (Index t = 0; t < walk_of(config, sequence, 0, n).length; ++t) {
      for (Index u = 0; u < Y; ++u) dy[(n * steps + t) * Y + u] = outputs.y(n, t, u);
    }
  }
  for (Index layer = config.num_layers - 1; layer >= 0; --layer) {
    const Index C = input_width(config, layer);
    const std::vector<T>& input = tape.input[layer];
    std::vector<T> dinput(input.size());
    for (Index direction = 0; direction < config.directions(); ++direction) {
      const Index cell = layer * config.directions() + direction;
      const RnnCellWeights<const T>& own = weights[cell];
      const RnnCellWeights<T>& gradients = inputs.weights[cell];
      for (Index u = 0; u < H; ++u) {
        for (Index k = 0; k < C; ++k) gradients.weight_ih(u, k) = 0;
        for (Index k = 0; k < H; ++k) gradients.weight_hh(u, k) = 0;
        if (gradients.bias) gradients.bias(u) = 0;
      }
      for (Index n = 0; n < N; ++n) {
        const Walk walk = walk_of(config, sequence, direction, n);
        const auto reset = resets_of(sequence, n);
        std::vector<T> dh(static_cast<std::size_t>(H));
        for (Index u = 0; u < H; ++u) {
          dh[u] = outputs.h && !walk.zeroed(walk.length, reset) ? outputs.h(cell, n, u) : T(0);
        }
        for (Index step = walk.length - 1; step >= 0; --step) {
          const Index at = n * steps + walk.time(step);
          std::vector<T> earlier(static_cast<std::size_t>(H));
          for (Index u = 0; u < H; ++u) {
            const T after = tape.after[cell][at * H + u];
            const T slope = config.activation == LstmFunction::relu ? T(after > 0) : 1 - after * after;
            const T dsum = (dh[u] + dy[at * Y + direction * H + u]) * slope;
            if (gradients.bias) gradients.bias(u) += dsum;
            for (Index k = 0; k < C; ++k) {
              gradients.weight_ih(u, k) += dsum * input[at * C + k];
              dinput[at * C + k] += dsum * own.weight_ih(u, k);
            }
            for (Index k = 0; k < H; ++k) {
              gradients.weight_hh(u, k) += dsum * tape.h_before[cell][at * H + k];
              earlier[k] += dsum * own.weight_hh(u, k);
            }
          }
          if (walk.zeroed(step, reset)) std::fill(earlier.begin(), earlier.end(), T(0));
          dh = earlier;
        }
        for (Index u = 0; u < H; ++u) inputs.h(cell, n, u) = dh[u];
      }
    }
    dy = dinput;
  }
  for (Index n = 0; n < N; ++n) {
    for (Index t = 0; t < steps; ++t) {
      for (Index k = 0; k < config.input_size; ++k) inputs.x(n, t, k) = dy[(n * steps + t) * config.input_size + k];
    }
  }
}

template void rnn(const RnnConfig&, const std::vector<RnnCellWeights<const float>>&, const LstmSequence<float>&,
                  View<float, 3>, View<float, 3>, RnnTape<float>&);
template void rnn(const RnnConfig&, const std::vector<RnnCellWeights<const double>>&, const LstmSequence<double>&,
                  View<double, 3>, View<double, 3>, RnnTape<double>&);
template void drnn(const RnnConfig&, const std::vector<RnnCellWeights<const double>>&, const LstmSequence<double>&,
                   const RnnTape<double>&, const RnnOutputGradients<double>&, const RnnInputGradients<double>&);

}  // namespace lstmcore::reference
