// Plays a capture: every sample passes through all layers before the next one is read.
#include <algorithm>
#include <cmath>
#include <lstmcore/capture.hpp>
#include <utility>

#include "../api/check.hpp"
#include "../runtime/float_mode.hpp"

namespace lstmcore {
namespace {

/// Partial sums of a product with a dense layer's weights, which hide the latency of the addition.
constexpr std::size_t sums = 8;

void activate(Activation activation, std::vector<float>& y) noexcept {
  if (activation == Activation::softmax) {
    const float largest = *std::max_element(y.begin(), y.end());
    float sum = 0.0f;
    for (float& value : y) sum += value = std::exp(value - largest);
    for (float& value : y) value /= sum;
    return;
  }
  for (float& value : y) {
    if (activation == Activation::relu) value = std::max(value, 0.0f);
    if (activation == Activation::tanh) value = std::tanh(value);
    if (activation == Activation::sigmoid) value = 1.0f / (1.0f + std::exp(-value));
  }
}

/// A layer that is ready to run: a stream, or the weights of a dense layer with one row for each output.
struct Stage {
  std::unique_ptr<LstmStream<float>> stream;
  std::vector<float> h, c;
  std::vector<float> rows, bias;
  Activation activation = Activation::linear;
  std::vector<float> output;

  explicit Stage(const CaptureLayer& layer) : output(static_cast<std::size_t>(layer.output_size)) {
    if (layer.recurrent) {
      stream = std::make_unique<LstmStream<float>>(layer.lstm());
      h = layer.h;
      c = layer.c;
      require(h.size() == output.size() && c.size() == output.size(), "layer: expected a first state of ",
              output.size(), " numbers each in h and c, got ", h.size(), " and ", c.size());
      return;
    }
    bias = layer.bias;
    activation = layer.activation;
    require(layer.input_size >= 1 && bias.size() == output.size() &&
                layer.kernel.size() == static_cast<std::size_t>(layer.input_size) * output.size(),
            "layer: expected a kernel (C, U) and a bias (U) for input_size ", layer.input_size, " and output_size ",
            layer.output_size, ", got arrays of ", layer.kernel.size(), " and ", bias.size(), " numbers");
    for (std::size_t unit = 0; unit < output.size(); ++unit) {
      for (std::size_t at = unit; at < layer.kernel.size(); at += output.size()) rows.push_back(layer.kernel[at]);
    }
  }

  void reset() {
    if (!stream) return;
    const auto units = static_cast<std::int64_t>(output.size());
    stream->set_state({{h.data(), {1, 1, units}}, {c.data(), {1, 1, units}}});
  }

  std::int64_t state_size() const { return stream ? 2 * static_cast<std::int64_t>(output.size()) : 0; }

  /// h and c where they lie in the state of a whole stream.
  template <class T>
  LstmState<T> state_at(T* state) const {
    const auto units = static_cast<std::int64_t>(output.size());
    return {{state, {1, 1, units}}, {state + units, {1, 1, units}}};
  }

  const float* step(const float* x) noexcept {
    if (stream) {
      stream->step(x, output.data());
      return output.data();
    }
    const std::size_t width = rows.size() / output.size();
    for (std::size_t unit = 0; unit < output.size(); ++unit) {
      output[unit] = bias[unit] + product(x, rows.data() + unit * width, width);
    }
    if (activation != Activation::linear) activate(activation, output);
    return output.data();
  }

  static float product(const float* x, const float* row, std::size_t width) noexcept {
    float partial[sums] = {};
    std::size_t at = 0;
    for (; at + sums <= width; at += sums) {
      for (std::size_t k = 0; k < sums; ++k) partial[k] += x[at + k] * row[at + k];
    }
    for (std::size_t k = 0; at < width; ++at, ++k) partial[k] += x[at] * row[at];
    for (std::size_t step = sums / 2; step > 0; step /= 2) {
      for (std::size_t k = 0; k < step; ++k) partial[k] += partial[k + step];
    }
    return partial[0];
  }
};

}  // namespace

struct CaptureStream::Impl {
  std::vector<Stage> stages;
  std::vector<float> input;  ///< the sample, then the controls
  float input_gain, output_gain;
  bool skip;  ///< not a factor of 0, which would make an infinite sample NaN

  explicit Impl(const Capture& capture)
      : input(static_cast<std::size_t>(capture.input_size)),
        input_gain(static_cast<float>(capture.input_gain)),
        output_gain(static_cast<float>(capture.output_gain)),
        skip(capture.skip) {
    require(std::isfinite(input_gain), "input_gain: expected a factor that a float can hold, got ", capture.input_gain);
    require(std::isfinite(output_gain), "output_gain: expected a factor that a float can hold, got ",
            capture.output_gain);
    std::int64_t width = capture.input_size;
    for (const CaptureLayer& layer : capture.layers) {
      require(layer.input_size == width, "layers: expected an input_size of ", width, ", got ", layer.input_size);
      width = layer.output_size;
      require(width >= 1, "layers: expected an output_size of at least 1, got ", width);
      stages.emplace_back(layer);
    }
    require(!stages.empty() && width == 1, "layers: expected some, with one output at the end, got ", width);
    reset();
  }

  void reset() {
    for (Stage& stage : stages) stage.reset();
  }

  float step(float sample) noexcept {
    input[0] = input_gain * sample;
    const float* values = input.data();
    for (Stage& stage : stages) values = stage.step(values);
    return output_gain * (skip ? values[0] + input[0] : values[0]);
  }
};

CaptureStream::CaptureStream(const Capture& capture) {
  require(capture.input_size >= 1, "input_size: expected at least 1, got ", capture.input_size);
  impl_ = std::make_unique<Impl>(capture);
}
CaptureStream::~CaptureStream() = default;
CaptureStream::CaptureStream(CaptureStream&&) noexcept = default;
CaptureStream& CaptureStream::operator=(CaptureStream&&) noexcept = default;

void CaptureStream::process(const float* x, float* y, std::int64_t count) noexcept {
  const EngineMode mode;
  for (std::int64_t at = 0; at < count; ++at) y[at] = impl_->step(x[at]);
}

std::int64_t CaptureStream::controls() const noexcept { return static_cast<std::int64_t>(impl_->input.size()) - 1; }

void CaptureStream::set_control(std::int64_t index, float value) noexcept {
  impl_->input[static_cast<std::size_t>(index) + 1] = value;
}

void CaptureStream::reset() noexcept { impl_->reset(); }

std::int64_t CaptureStream::state_size() const noexcept {
  std::int64_t size = 0;
  for (const Stage& stage : impl_->stages) size += stage.state_size();
  return size;
}

void CaptureStream::get_state(float* state) const {
  for (const Stage& stage : impl_->stages) {
    if (stage.stream) stage.stream->get_state(stage.state_at(state));
    state += stage.state_size();
  }
}

void CaptureStream::set_state(const float* state) {
  for (Stage& stage : impl_->stages) {
    if (stage.stream) stage.stream->set_state(stage.state_at(state));
    state += stage.state_size();
  }
}

void CaptureStream::settle(std::int64_t count) noexcept {
  const EngineMode mode;
  for (std::int64_t at = 0; at < count; ++at) impl_->step(0.0f);
}

}  // namespace lstmcore
