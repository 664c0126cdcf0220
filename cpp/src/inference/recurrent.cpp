// LSTM, RNN and Bidirectional.
#include <algorithm>
#include <lstmcore/lstm.hpp>

#include "layer.hpp"

namespace lstmcore::inference {
namespace {

double flops_of(const LstmConfig& config) {
  double weights = 0;
  for (const LstmParameter& parameter : lstm_parameters(config)) {
    double size = 1;
    for (const std::int64_t extent : parameter.shape) size *= static_cast<double>(extent);
    weights += size;
  }
  return 2 * weights;
}

class RecurrentStepper : public Stepper {
 public:
  RecurrentStepper(const Lstm<float>& lstm, Index rows) : stream_(lstm, rows) {}

  void step(const float* x, float* y) noexcept override { stream_.step(x, y); }
  void reset(Index row) noexcept override { stream_.reset(row); }
  void get_state(float* state, Index stride) const override { stream_.get_state(views<float>(state, stride)); }
  void set_state(const float* state, Index stride) override { stream_.set_state(views<const float>(state, stride)); }

 private:
  /// Of a row: h of all layers, then c of all layers.
  template <class T>
  LstmState<T> views(T* state, Index stride) const {
    const LstmConfig& config = stream_.config();
    const Index layers = config.num_layers, rows = stream_.batch_size(), P = config.state_size(),
                H = config.hidden_size;
    return {{state, {layers, rows, P}, {P, stride, 1}}, {state + layers * P, {layers, rows, H}, {H, stride, 1}}};
  }

  LstmStream<float> stream_;
};

class Recurrent : public Layer {
 public:
  Recurrent(const ModelFile& file, const ModelLayer& layer)
      : Layer(layer.name, flops_of(layer.lstm)),
        lstm_(file.lstm<float>(layer.name)),
        every_step_(layer.return_sequences),
        merge_(layer.merge_mode.empty() ? "concat" : layer.merge_mode) {}

  void forward(Sequences& data) const override {
    const Index width = config().output_size();
    LstmSequence<float> sequence(data.view());
    sequence.lengths = data.valid();
    if (!every_step_) {
      Buffer<float> h = last_outputs(data, sequence);
      merge(h, data.rows);
      data.replace_by_vectors(merged_width(), std::move(h));
      return;
    }
    Buffer<float> y = data.room(data.steps, width);
    lstm_.forward(sequence, {y.data(), {data.rows, data.steps, width}}, {});
    if (config().go_backwards) put_in_order_of_processing(data, y);
    merge(y, data.rows * data.steps);
    data.replace(merged_width(), std::move(y));
  }

  bool makes_vectors() const override { return !every_step_; }
  bool streams() const override { return !config().bidirectional && !config().go_backwards; }
  std::unique_ptr<Stepper> stepper(Index rows) const override {
    return std::make_unique<RecurrentStepper>(lstm_, rows);
  }
  Index state_size() const override {
    return streams() ? config().num_layers * (config().state_size() + config().hidden_size) : 0;
  }

 private:
  const LstmConfig& config() const { return lstm_.config(); }
  Index merged_width() const { return merge_ == "concat" ? config().output_size() : config().state_size(); }

  /// The last layer's final h, (rows, D * P).
  Buffer<float> last_outputs(const Sequences& data, const LstmSequence<float>& sequence) const {
    const Index D = config().directions(), P = config().state_size(), H = config().hidden_size, rows = data.rows;
    const Index cells = config().num_layers * D;
    Buffer<float> h(static_cast<std::size_t>(cells * rows * P)), c(static_cast<std::size_t>(cells * rows * H));
    std::fill_n(h.data(), h.size(), 0.0f);
    std::fill_n(c.data(), c.size(), 0.0f);
    lstm_.forward(sequence, {}, {{h.data(), {cells, rows, P}}, {c.data(), {cells, rows, H}}});
    Buffer<float> last(static_cast<std::size_t>(rows * D * P));
    for (Index direction = 0; direction < D; ++direction) {
      const float* const of_direction = h.data() + (cells - D + direction) * rows * P;
      for (Index row = 0; row < rows; ++row) {
        std::copy_n(of_direction + row * P, P, last.data() + (row * D + direction) * P);
      }
    }
    return last;
  }

  /// Reverses the valid steps of each row: such a layer's outputs are in the order in which it walks, as in Keras.
  void put_in_order_of_processing(const Sequences& data, Buffer<float>& y) const {
    const Index width = config().output_size();
    for (Index row = 0; row < data.rows; ++row) {
      float* const steps = y.data() + row * data.steps * width;
      for (Index first = 0, last = data.length(row) - 1; first < last; ++first, --last) {
        std::swap_ranges(steps + first * width, steps + (first + 1) * width, steps + last * width);
      }
    }
  }

  /// Merges the outputs of both directions, in place, in `count` vectors.
  void merge(Buffer<float>& y, Index count) const {
    if (merge_ == "concat") return;
    const Index P = config().state_size();
    const bool product = merge_ == "mul";
    const float share = merge_ == "ave" ? 0.5f : 1.0f;
    for (Index place = 0; place < count; ++place) {
      const float* const ahead = y.data() + place * 2 * P;
      const float* const back = ahead + P;
      float* const merged = y.data() + place * P;  // never after what is still to be read
      for (Index unit = 0; unit < P; ++unit) {
        merged[unit] = product ? ahead[unit] * back[unit] : (ahead[unit] + back[unit]) * share;
      }
    }
  }

  Lstm<float> lstm_;
  bool every_step_;
  std::string merge_;
};

}  // namespace

std::unique_ptr<Layer> make_recurrent(const ModelFile& file, const ModelLayer& layer) {
  return std::make_unique<Recurrent>(file, layer);
}

}  // namespace lstmcore::inference
