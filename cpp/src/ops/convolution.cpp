#include <algorithm>
#include <limits>
#include <lstmcore/ops.hpp>
#include <memory>
#include <numeric>
#include <vector>

#include "../api/check.hpp"
#include "../runtime/buffer.hpp"
#include "../runtime/isa.hpp"
#include "activate.hpp"
#include "products.hpp"
#include "sequences.hpp"

namespace lstmcore {
namespace {

// ---- windows as rows of a matrix ------------------------------------------------------------------------------------

/// A sequence of `steps` rows at `data`. Its first window begins at row `start`, which is negative if the window begins
/// before the sequence.
template <class T>
struct Sequence {
  const T* data;
  std::int64_t steps;
  std::int64_t start;
};

/// Windows as rows of a product's factor: `size` rows of `width` elements, `dilation` rows apart; the windows of a
/// sequence begin `stride` rows apart. A window without gaps that lies within its sequence is contiguous, so the
/// product reads it where it is. Any other is copied, with zeros beyond the ends of the sequence.
template <class T>
struct WindowRows {
  static constexpr bool copies = true;
  const ops::ValidSteps& numbers;  // of the windows
  std::vector<Sequence<T>> sequences;
  Index width, size, dilation, stride;

  void locate(Index begin, Index end, Index first, Index count, const T** rows, T* scratch) const {
    numbers.for_runs(begin, end, [&](Index n, Index t, Index number, Index run) {
      const Sequence<T>& sequence = sequences[static_cast<std::size_t>(n)];
      for (Index row = number - begin; row < number - begin + run; ++row, ++t) {
        rows[row] = part(sequence, sequence.start + t * stride, first, count, scratch + row * count);
      }
    });
  }

 private:
  const T* part(const Sequence<T>& sequence, Index start, Index first, Index count, T* copy) const {
    if (dilation == 1 || size == 1) {
      const Index from = start * width + first, end = sequence.steps * width;
      if (from >= 0 && from + count <= end) return sequence.data + from;
      const Index real = std::clamp<Index>(from, 0, end), real_end = std::clamp<Index>(from + count, 0, end);
      T* const filled = std::fill_n(copy, real_end > real ? real - from : 0, T(0));
      std::fill(std::copy(sequence.data + real, sequence.data + real_end, filled), copy + count, T(0));
      return copy;
    }
    for (Index done = 0; done < count;) {
      const Index place = (first + done) / width, column = (first + done) % width;
      const Index some = std::min(width - column, count - done), row = start + place * dilation;
      if (row >= 0 && row < sequence.steps) {
        std::copy_n(sequence.data + row * width + column, some, copy + done);
      } else {
        std::fill_n(copy + done, some, T(0));
      }
      done += some;
    }
    return copy;
  }
};

/// Rows of a result (see ops::PlainRows): step t of sequence n is row bases[n] + t * stride.
template <class T>
struct OutputRows {
  static constexpr bool copies = false;
  const ops::ValidSteps& numbers;
  T* data;
  std::vector<Index> bases;
  Index width, stride;

  void locate(Index begin, Index end, Index first, Index /*count*/, T** rows, const void* /*scratch*/) const {
    numbers.for_runs(begin, end, [&](Index n, Index t, Index number, Index run) {
      const Index base = bases[static_cast<std::size_t>(n)];
      for (Index k = 0; k < run; ++k) rows[number - begin + k] = data + (base + (t + k) * stride) * width + first;
    });
  }
};

// ---- one convolution ------------------------------------------------------------------------------------------------

/// The arguments and sizes that forward and backward share.
template <class T>
struct Convolution {
  const View<const T, 3>& x;
  const View<const std::int64_t, 1>& lengths;
  const View<const T, 3>& kernel;
  const Windows& windows;
  Index batch, steps, features, size, filters;

  Convolution(const View<const T, 3>& input, const View<const std::int64_t, 1>& valid, const View<const T, 3>& weights,
              const Windows& where)
      : x(input),
        lengths(valid),
        kernel(weights),
        windows(where),
        batch(input.shape[0]),
        steps(input.shape[1]),
        features(input.shape[2]),
        size(weights.shape[0]),
        filters(weights.shape[2]) {}

  Index length(Index n) const { return ops::length_of(lengths, n, steps); }
  Index outputs() const { return windows.count(steps); }

  ops::ValidSteps window_numbers() const { return ops::ValidSteps::of_windows(windows, x, lengths); }

  WindowRows<T> window_rows(const ops::ValidSteps& numbers) const {
    std::vector<Sequence<T>> sequences;
    for (Index n = 0; n < batch; ++n) {
      sequences.push_back({x.data + n * steps * features, length(n), -windows.before(length(n))});
    }
    return {numbers, std::move(sequences), features, size, windows.dilation, windows.stride};
  }
};

template <class T>
void check(const Convolution<T>& convolution, Activation activation) {
  const auto& [x, lengths, kernel, windows, batch, steps, features, size, filters] = convolution;
  require_contiguous("x", x);
  require_contiguous("kernel", kernel);
  require(size >= 1 && kernel.shape[1] >= 1 && filters >= 1,
          "kernel: expected at least one step, one feature and one filter, got shape ", shape_text(kernel));
  require(features == kernel.shape[1], "x: expected shape (N, T, ", kernel.shape[1], ") for a kernel of shape ",
          shape_text(kernel), ", got ", shape_text(x));
  windows.validate();
  require(windows.size == size, "windows: expected the size of the kernel, ", size, ", got ", windows.size);
  ops::check_lengths("lengths", lengths, batch, steps);
  require(lengths || steps >= windows.span() || windows.padding != Padding::valid, "x: expected at least ",
          windows.span(), " time steps, which one window takes, got ", steps);
  ops::check_activation(activation);
}

/// dx of every step that element `place` of some window falls on; these steps are `stride` apart. The elements of a
/// window that fall on the same steps are `between` elements apart, and each next one belongs to a window `apart`
/// windows earlier. So dx is a convolution of dz with these elements of the kernel, in falling order.
template <class T>
void input_gradient(const Convolution<T>& convolution, const ops::ValidSteps& numbers, const T* dz, Index place,
                    T* dx) {
  const auto& [x, lengths, kernel, windows, batch, steps, features, size, filters] = convolution;
  const Index stride = windows.stride, divisor = std::gcd(stride, windows.dilation);
  const Index between = stride / divisor, apart = windows.dilation / divisor;
  const Index phase = place * windows.dilation % stride;
  const Index places = (size - 1 - place) / between + 1, last = place + (places - 1) * between;

  // (C, places * F): the weights in the order of a window's gradients.
  Buffer<T> weights(static_cast<std::size_t>(features * places * filters));
  for (Index c = 0; c < features; ++c) {
    for (Index k = 0; k < places; ++k) {
      const T* const from = kernel.data + ((last - k * between) * features + c) * filters;
      std::copy_n(from, filters, weights.data() + (c * places + k) * filters);
    }
  }
  std::vector<Index> counts, bases;
  std::vector<Sequence<T>> sequences;
  for (Index n = 0; n < batch; ++n) {
    const Index length = ops::length_of(lengths, n, steps), before = windows.before(length);
    const Index first = (phase + stride - before % stride) % stride;
    counts.push_back(first < length ? (length - 1 - first) / stride + 1 : 0);
    bases.push_back(n * steps + first);
    sequences.push_back(
        {dz + numbers.first(n) * filters, numbers.count(n), (first + before - last * windows.dilation) / stride});
  }
  const ops::ValidSteps rows(counts);
  const auto factor = ops::Factor<T>::transposed(View<const T, 2>(weights.data(), {features, places * filters}));
  factor.multiply(WindowRows<T>{rows, std::move(sequences), filters, places, apart, 1}, rows.total(), nullptr,
                  OutputRows<T>{rows, dx, std::move(bases), features, stride}, [](Index, Index) {});
}

/// dkernel (K C, F) = windows^T dz. The wider matrix is the right factor: kernels are fastest with many columns in it.
template <class T>
void kernel_gradient(const Convolution<T>& convolution, const ops::ValidSteps& numbers, const T* dz, T* dkernel) {
  const Index filters = convolution.filters, depth = convolution.size * convolution.features;
  const auto windows = convolution.window_rows(numbers);
  const ops::PlainRows<const T> gradients{dz, filters};
  if (numbers.total() == 0) {
    std::fill_n(dkernel, depth * filters, T(0));
  } else if (depth < filters) {
    ops::TransposedMultiply<T>(depth, filters, numbers.total(), dkernel).run(windows, gradients);
  } else {
    Buffer<T> transposed(static_cast<std::size_t>(filters * depth));
    ops::TransposedMultiply<T>(filters, depth, numbers.total(), transposed.data()).run(gradients, windows);
    active_kernels<T>().transpose(transposed.data(), depth, filters, depth, dkernel, filters);
  }
}

}  // namespace

template <class T>
void conv1d_forward(View<const T, 3> x, View<const std::int64_t, 1> lengths, View<const T, 3> kernel,
                    View<const T, 1> bias, const Windows& windows, Activation activation, View<T, 3> y) {
  const EngineFloats floats;
  const Convolution<T> convolution(x, lengths, kernel, windows);
  check(convolution, activation);
  const Index batch = convolution.batch, outputs = convolution.outputs(), filters = convolution.filters;
  require_array_or_none("bias", bias, {filters});
  require_array("y", y, {batch, outputs, filters});
  const auto numbers = convolution.window_numbers();
  ops::zero_padding(y, numbers);
  std::vector<Index> bases;
  for (Index n = 0; n < batch; ++n) bases.push_back(n * outputs);
  const auto padded_bias = ops::whole_vectors(bias);
  const auto factor =
      ops::Factor<T>::plain(View<const T, 2>(kernel.data, {convolution.size * convolution.features, filters}));
  factor.multiply(convolution.window_rows(numbers), numbers.total(), bias ? padded_bias.data() : nullptr,
                  OutputRows<T>{numbers, y.data, std::move(bases), filters, 1}, [&](Index begin, Index end) {
                    numbers.for_runs(begin, end, [&](Index n, Index t, Index, Index run) {
                      ops::activate(activation, y.data + (n * outputs + t) * filters, run, filters);
                    });
                  });
}

template <class T>
void conv1d_backward(View<const T, 3> x, View<const std::int64_t, 1> lengths, View<const T, 3> kernel,
                     View<const T, 3> y, View<const T, 3> dy, const Windows& windows, Activation activation,
                     View<T, 3> dx, View<T, 3> dkernel, View<T, 1> dbias) {
  const EngineFloats floats;
  const Convolution<T> convolution(x, lengths, kernel, windows);
  check(convolution, activation);
  const Index outputs = convolution.outputs(), filters = convolution.filters;
  require_array("y", y, {convolution.batch, outputs, filters});
  require_array("dy", dy, {convolution.batch, outputs, filters});
  require_array_or_none("dx", dx, x.shape);
  require_array_or_none("dkernel", dkernel, kernel.shape);
  require_array_or_none("dbias", dbias, {filters});

  // The gradients with respect to the pre-activations, window after window.
  const auto numbers = convolution.window_numbers();
  const bool linear = activation == Activation::linear;
  const bool in_place = linear && numbers.total() == convolution.batch * outputs;
  Buffer<T> gradients(static_cast<std::size_t>(in_place ? 0 : numbers.total() * filters));
  if (!in_place) {
    ops::parallel_ranges(numbers.total(), policy::cost::activated * static_cast<double>(filters), 1,
                         [&](Index begin, Index count) {
                           numbers.for_runs(begin, begin + count, [&](Index n, Index t, Index number, Index run) {
                             const Index from = (n * outputs + t) * filters;
                             T* const to = gradients.data() + number * filters;
                             if (linear) {
                               std::copy_n(dy.data + from, run * filters, to);
                             } else {
                               ops::activate_backward(activation, y.data + from, dy.data + from, to, run, filters);
                             }
                           });
                         });
  }
  const T* const dz = in_place ? dy.data : gradients.data();
  if (dx) {
    if (windows.stride > 1 || lengths) {
      const Index row = dx.shape[1] * dx.shape[2];
      ops::parallel_rows(dx, [&](Index n) { std::fill_n(dx.data + n * row, row, T(0)); });
    }
    // Elements of the kernel that are this many apart fall on the same steps.
    const Index different = std::min(windows.stride / std::gcd(windows.stride, windows.dilation), windows.size);
    for (Index place = 0; place < different; ++place) input_gradient(convolution, numbers, dz, place, dx.data);
  }
  if (dkernel) kernel_gradient(convolution, numbers, dz, dkernel.data);
  if (dbias) ops::sum_rows(dz, numbers.total(), filters, dbias.data);
}

// ---- a kernel that is packed once -----------------------------------------------------------------------------------

template <class T>
struct PackedConvolution<T>::Packed {
  std::array<std::int64_t, 3> shape;
  Windows windows;
  Activation activation;
  bool with_bias;
  Buffer<T> bias;
  ops::Factor<T> factor;
};

template <class T>
PackedConvolution<T>::PackedConvolution(View<const T, 3> kernel, View<const T, 1> bias, std::int64_t stride,
                                        std::int64_t dilation, Activation activation) {
  const EngineFloats floats;
  const auto [size, features, filters] = kernel.shape;
  require_contiguous("kernel", kernel);
  require(size >= 1 && features >= 1 && filters >= 1,
          "kernel: expected at least one step, one feature and one filter, got shape ", shape_text(kernel));
  require_array_or_none("bias", bias, {filters});
  const Windows windows{size, stride, dilation, Padding::valid};
  windows.validate();
  ops::check_activation(activation);
  packed_ = std::make_shared<const Packed>(
      Packed{kernel.shape, windows, activation, static_cast<bool>(bias), ops::whole_vectors(bias),
             ops::Factor<T>::plain(View<const T, 2>(kernel.data, {size * features, filters}))});
}

template <class T>
const std::array<std::int64_t, 3>& PackedConvolution<T>::kernel_shape() const {
  return packed_->shape;
}

template <class T>
std::int64_t PackedConvolution<T>::count(std::int64_t steps, std::int64_t before, std::int64_t after) const {
  constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
  require(before >= 0 && before <= most, "before: expected 0 to ", most, ", got ", before);
  require(after >= 0 && after <= most, "after: expected 0 to ", most, ", got ", after);
  return packed_->windows.count(before + steps + after);
}

template <class T>
void PackedConvolution<T>::forward(View<const T, 3> x, std::int64_t before, std::int64_t after, View<T, 3> y) const {
  const EngineFloats floats;
  const auto& [shape, windows, activation, with_bias, bias, factor] = *packed_;
  const Index batch = x.shape[0], steps = x.shape[1], features = shape[1], filters = shape[2];
  const Index outputs = count(steps, before, after);
  require_contiguous("x", x);
  require(x.shape[2] == features, "x: expected shape (N, T, ", features, ") for a kernel of shape (", shape[0], ", ",
          features, ", ", filters, "), got ", shape_text(x));
  require(outputs >= 1, "x: expected at least ", windows.span(), " time steps with what goes before and after, got ",
          before + steps + after);
  require_array("y", y, {batch, outputs, filters});
  const ops::ValidSteps numbers(std::vector<Index>(static_cast<std::size_t>(batch), outputs));
  std::vector<Sequence<T>> sequences;
  sequences.reserve(static_cast<std::size_t>(batch));
  for (Index n = 0; n < batch; ++n) sequences.push_back({x.data + n * steps * features, steps, -before});
  const WindowRows<T> rows{numbers, std::move(sequences), features, windows.size, windows.dilation, windows.stride};
  factor.multiply(rows, numbers.total(), with_bias ? bias.data() : nullptr, ops::PlainRows<T>{y.data, filters},
                  [&, function = activation](Index begin, Index end) {
                    ops::activate(function, y.data + begin * filters, end - begin, filters);
                  });
}

template class PackedConvolution<float>;
template class PackedConvolution<double>;

template void conv1d_forward<float>(View<const float, 3>, View<const std::int64_t, 1>, View<const float, 3>,
                                    View<const float, 1>, const Windows&, Activation, View<float, 3>);
template void conv1d_forward<double>(View<const double, 3>, View<const std::int64_t, 1>, View<const double, 3>,
                                     View<const double, 1>, const Windows&, Activation, View<double, 3>);
template void conv1d_backward<float>(View<const float, 3>, View<const std::int64_t, 1>, View<const float, 3>,
                                     View<const float, 3>, View<const float, 3>, const Windows&, Activation,
                                     View<float, 3>, View<float, 3>, View<float, 1>);
template void conv1d_backward<double>(View<const double, 3>, View<const std::int64_t, 1>, View<const double, 3>,
                                      View<const double, 3>, View<const double, 3>, const Windows&, Activation,
                                      View<double, 3>, View<double, 3>, View<double, 1>);

}  // namespace lstmcore
