#include <cmath>
#include <lstmcore/ops.hpp>

#include "../api/check.hpp"
#include "../runtime/buffer.hpp"
#include "../runtime/isa.hpp"
#include "elements.hpp"

namespace lstmcore {
namespace {

void require_finite(const char* name, double value) {
  require(std::isfinite(value), name, ": expected a finite number, got ", value);
}

void require_fraction(const char* name, double value) {
  require(value >= 0 && value < 1, name, ": expected a number from 0 up to, but not including, 1, got ", value);
}

void require_not_negative(const char* name, double value) {
  require(std::isfinite(value) && value >= 0, name, ": expected a finite number >= 0, got ", value);
}

/// A step is whole: arrays that it has half changed would be of no use.
template <class T, class Body>
void parallel_step(std::int64_t count, Body&& body) {
  const Uninterrupted whole;
  ops::parallel_ranges(count, policy::cost::optimized, ops::line_elements<T>, body);
}

}  // namespace

template <class T>
void sgd_step(View<T, 1> parameter, View<const T, 1> gradient, View<T, 1> velocity, double learning_rate,
              double momentum, bool nesterov) {
  const EngineFloats floats;
  require_contiguous("parameter", parameter);
  require_array("gradient", gradient, parameter.shape);
  require_array_or_none("velocity", velocity, parameter.shape);
  require_finite("learning_rate", learning_rate);
  require_fraction("momentum", momentum);
  require(velocity || momentum == 0 || parameter.size() == 0, "velocity: expected an array because momentum is ",
          momentum, ", got none");
  const auto& kernels = active_kernels<T>();
  parallel_step<T>(parameter.shape[0], [&](std::int64_t begin, std::int64_t count) {
    kernels.sgd(parameter.data + begin, gradient.data + begin, velocity ? velocity.data + begin : nullptr, count,
                static_cast<T>(learning_rate), static_cast<T>(momentum), nesterov);
  });
}

template <class T>
void rmsprop_step(View<T, 1> parameter, View<const T, 1> gradient, View<T, 1> mean_square, double learning_rate,
                  double rho, double epsilon) {
  const EngineFloats floats;
  require_contiguous("parameter", parameter);
  require_array("gradient", gradient, parameter.shape);
  require_array("mean_square", mean_square, parameter.shape);
  require_finite("learning_rate", learning_rate);
  require_fraction("rho", rho);
  require_not_negative("epsilon", epsilon);
  const auto& kernels = active_kernels<T>();
  parallel_step<T>(parameter.shape[0], [&](std::int64_t begin, std::int64_t count) {
    kernels.rmsprop(parameter.data + begin, gradient.data + begin, mean_square.data + begin, count,
                    static_cast<T>(learning_rate), static_cast<T>(1 - rho), static_cast<T>(epsilon));
  });
}

template <class T>
void adam_step(View<T, 1> parameter, View<const T, 1> gradient, View<T, 1> m, View<T, 1> v, std::int64_t step,
               double learning_rate, double beta1, double beta2, double epsilon, double weight_decay) {
  const EngineFloats floats;
  require_contiguous("parameter", parameter);
  require_array("gradient", gradient, parameter.shape);
  require_array("m", m, parameter.shape);
  require_array("v", v, parameter.shape);
  require(step >= 1, "step: expected a number >= 1, got ", step);
  require_finite("learning_rate", learning_rate);
  require_fraction("beta1", beta1);
  require_fraction("beta2", beta2);
  require_not_negative("epsilon", epsilon);
  require_not_negative("weight_decay", weight_decay);
  const double correction1 = 1 / (1 - std::pow(beta1, static_cast<double>(step)));
  const double correction2 = 1 / (1 - std::pow(beta2, static_cast<double>(step)));
  const auto& kernels = active_kernels<T>();
  parallel_step<T>(parameter.shape[0], [&](std::int64_t begin, std::int64_t count) {
    kernels.adam(parameter.data + begin, gradient.data + begin, m.data + begin, v.data + begin, count,
                 static_cast<T>(learning_rate), static_cast<T>(1 - beta1), static_cast<T>(1 - beta2),
                 static_cast<T>(correction1), static_cast<T>(correction2), static_cast<T>(epsilon),
                 static_cast<T>(weight_decay));
  });
}

template <class T>
double squared_norm(View<const T, 1> values) {
  const EngineFloats floats;
  require_contiguous("values", values);
  // Blocks of a fixed size, added in order: the result does not depend on the number of threads.
  constexpr std::int64_t block = policy::squared_norm_block;
  const std::int64_t count = values.shape[0], blocks = (count + block - 1) / block;
  Buffer<double> sums(static_cast<std::size_t>(blocks));
  double* const partial = sums.data();
  const auto& kernels = active_kernels<T>();
  ops::parallel_ranges(blocks, policy::cost::visited * block, 1, [&](std::int64_t begin, std::int64_t part) {
    for (std::int64_t index = begin; index < begin + part; ++index) {
      partial[index] = kernels.squared_norm(values.data + index * block, std::min(block, count - index * block));
    }
  });
  double total = 0;
  for (std::int64_t index = 0; index < blocks; ++index) total += partial[index];
  return total;
}

template <class T>
void scale(View<T, 1> values, double factor) {
  const EngineFloats floats;
  require_contiguous("values", values);
  const auto& kernels = active_kernels<T>();
  parallel_step<T>(values.shape[0], [&](std::int64_t begin, std::int64_t count) {
    kernels.scale(values.data + begin, static_cast<T>(factor), count);
  });
}

template <class T>
void clip(View<T, 1> values, double limit) {
  const EngineFloats floats;
  require_contiguous("values", values);
  require(limit >= 0, "limit: expected a number >= 0, got ", limit);
  const auto& kernels = active_kernels<T>();
  parallel_step<T>(values.shape[0], [&](std::int64_t begin, std::int64_t count) {
    kernels.clip(values.data + begin, static_cast<T>(limit), count);
  });
}

template void sgd_step<float>(View<float, 1>, View<const float, 1>, View<float, 1>, double, double, bool);
template void sgd_step<double>(View<double, 1>, View<const double, 1>, View<double, 1>, double, double, bool);
template void rmsprop_step<float>(View<float, 1>, View<const float, 1>, View<float, 1>, double, double, double);
template void rmsprop_step<double>(View<double, 1>, View<const double, 1>, View<double, 1>, double, double, double);
template void adam_step<float>(View<float, 1>, View<const float, 1>, View<float, 1>, View<float, 1>, std::int64_t,
                               double, double, double, double, double);
template void adam_step<double>(View<double, 1>, View<const double, 1>, View<double, 1>, View<double, 1>, std::int64_t,
                                double, double, double, double, double);
template double squared_norm<float>(View<const float, 1>);
template double squared_norm<double>(View<const double, 1>);
template void scale<float>(View<float, 1>, double);
template void scale<double>(View<double, 1>, double);
template void clip<float>(View<float, 1>, double);
template void clip<double>(View<double, 1>, double);

}  // namespace lstmcore
