// The activation functions of an LSTM's gates, cell candidate and output.
#pragma once

namespace lstmcore {

enum class LstmFunction {
  sigmoid,           ///< 1 / (1 + exp(-x))
  tanh,              ///< tanh(x)
  relu,              ///< max(x, 0)
  leaky_relu,        ///< x if x > 0, else alpha x; alpha >= 0
  elu,               ///< x if x > 0, else alpha (exp(x) - 1); alpha >= 0
  hard_sigmoid,      ///< min(max(alpha x + beta, 0), 1)
  softsign,          ///< x / (1 + |x|)
  softplus,          ///< log(1 + exp(x))
  affine,            ///< alpha x + beta
  scaled_tanh,       ///< alpha tanh(beta x); alpha not 0
  thresholded_relu,  ///< x if x > alpha, else 0
  fast_sigmoid,      ///< sigmoid to within 1e-5: see `fast_tanh`
  fast_tanh,         ///< tanh to within 2e-5, for less time: a ratio of polynomials of x between -6.1 and 6.1
  linear,            ///< x
};

struct LstmActivation {
  LstmFunction function = LstmFunction::linear;
  double alpha = 0.0;
  double beta = 0.0;
};

inline bool operator==(const LstmActivation& a, const LstmActivation& b) {
  return a.function == b.function && a.alpha == b.alpha && a.beta == b.beta;
}

}  // namespace lstmcore
