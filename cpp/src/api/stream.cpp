// One step at a time. All pointers that the kernels need are laid out once; a step only swaps which of two places holds
// the last h.
#include <cstring>

#include "../sequence/layers.hpp"
#include "check.hpp"

namespace lstmcore {

template <class T>
struct LstmStream<T>::Impl {
  struct Layer {
    CellShape shape;
    Buffer<T> h[2];  ///< [batch][width of h]: the last h and the place of the next one, in turn
    Buffer<T> c;     ///< [batch][Hp]
    std::vector<T*> h_rows[2];
    std::vector<T*> c_rows;
    Buffer<T> m;  ///< [batch][H], with a projection: what h is the projection of
    std::vector<T*> m_rows;
    kernels::Product<T> projection{};
    // With layer norms: W x, U h', the gates, c before zoneout and the norms' statistics.
    Buffer<T> norm_x, norm_h, gates, fresh_c, statistics;
    std::vector<T*> norm_x_rows, norm_h_rows, gates_rows, fresh_c_rows, statistics_rows;
    kernels::CellNorms<T> norms{};
    kernels::Product<T> x_product{}, h_product{};
    std::vector<const T*> x_rows[2];  ///< by turn; for the first layer they are set by each step
    kernels::StepForward<T> step{};
    // In a lower precision.
    LowpRows x_lowp, h_lowp, m_lowp;
    const ForwardPanels<T>* weights = nullptr;
    kernels::LowpStep step_lowp{};
  };

  Lstm<T> lstm;
  Index batch;
  const kernels::Kernels<T>& kernels;
  const T proj_clip, proj_zoneout;
  std::vector<Layer> layers;
  int turn = 0;

  Impl(const Lstm<T>& source, Index batch_size)
      : lstm(source),
        batch(batch_size),
        kernels(active_kernels<T>()),
        proj_clip(static_cast<T>(source.config().proj_clip)),
        proj_zoneout(static_cast<T>(source.config().proj_size > 0 ? source.config().zoneout_h : 0.0)) {
    layers.resize(static_cast<std::size_t>(lstm.config().num_layers));
    for (std::size_t index = 0; index < layers.size(); ++index) prepare(index);
  }

  void prepare(std::size_t index) {
    Layer& layer = layers[index];
    const auto rows = static_cast<std::size_t>(batch);
    layer.shape = lstm.impl().shape(static_cast<Index>(index));
    const Index hidden = layer.shape.hidden, state = layer.shape.state, padded = layer.shape.padded();
    layer.c.resize(rows * static_cast<std::size_t>(padded));
    layer.c_rows.resize(rows);
    for (int side = 0; side < 2; ++side) {
      layer.h[side].resize(rows * static_cast<std::size_t>(state));
      layer.h_rows[side].resize(rows);
      layer.x_rows[side].resize(rows);
    }
    for (std::size_t row = 0; row < rows; ++row) {
      const auto at = static_cast<Index>(row);
      layer.c_rows[row] = layer.c.data() + at * padded;
      for (int side = 0; side < 2; ++side) {
        layer.h_rows[side][row] = layer.h[side].data() + at * state;
        if (index > 0) layer.x_rows[side][row] = layers[index - 1].h_rows[side][row];
      }
    }
    const ForwardPanels<T>& weights = lstm.impl().forward[index];
    layer.weights = &weights;
    if (weights.h_lowp) prepare_lowp(layer);
    layer.step.rows = batch;
    layer.step.hidden = hidden;
    layer.step.h_depth = state;
    layer.step.block_end = layer.shape.blocks();
    layer.step.x_depth = layer.shape.input;
    layer.step.x_panels = weights.x.data();
    layer.step.h_panels = weights.h.data();
    layer.step.bias = weights.bias.data();
    layer.step.c_prev = layer.c_rows.data();
    layer.step.c = layer.c_rows.data();
    const CellVariant<T> variant = lstm.impl().variant(index);
    layer.step.extras = {variant.options, variant.peephole, nullptr, nullptr};
    if (layer.shape.projected) prepare_projection(layer, weights);
    if (layer.shape.normed) prepare_norms(layer, weights, variant);
    clear(layer, 0, batch);
  }

  void prepare_lowp(Layer& layer) {
    const ForwardPanels<T>& weights = *layer.weights;
    layer.x_lowp.prepare(weights.x_lowp, batch);
    layer.h_lowp.prepare(weights.h_lowp, batch);
    layer.m_lowp.prepare(weights.projection_lowp, batch);
    kernels::LowpStep& lowp = layer.step_lowp;
    lowp.unit = weights.h_lowp.arithmetic().unit;
    lowp.terms = weights.h_lowp.arithmetic().terms;
    lowp.x = weights.x_lowp.factors();
    lowp.h = weights.h_lowp.factors();
    layer.x_lowp.add_to(lowp.x);
    layer.h_lowp.add_to(lowp.h);
    lowp.x_unsplit = layer.x_lowp.unsplit();
    lowp.h_unsplit = layer.h_lowp.unsplit();
    layer.step.lowp = &lowp;
  }

  void prepare_projection(Layer& layer, const ForwardPanels<T>& weights) {
    layer.m.resize(static_cast<std::size_t>(batch * layer.shape.hidden));
    for (Index row = 0; row < batch; ++row) layer.m_rows.push_back(layer.m.data() + row * layer.shape.hidden);
    layer.projection.rows = batch;
    layer.projection.depth = layer.shape.hidden;
    layer.projection.columns = layer.shape.state;
    layer.projection.a = layer.m_rows.data();
    layer.projection.panels = weights.projection.data();
    layer.projection.panel_end = (layer.shape.state + layer.shape.block_width() - 1) / layer.shape.block_width();
  }

  void prepare_norms(Layer& layer, const ForwardPanels<T>& weights, const CellVariant<T>& variant) {
    const CellShape& shape = layer.shape;
    const auto place = [&](Buffer<T>& buffer, std::vector<T*>& rows, Index width) {
      buffer.resize(static_cast<std::size_t>(batch * width));
      for (Index row = 0; row < batch; ++row) rows.push_back(buffer.data() + row * width);
    };
    place(layer.norm_x, layer.norm_x_rows, shape.gates_width());
    place(layer.norm_h, layer.norm_h_rows, shape.gates_width());
    place(layer.gates, layer.gates_rows, shape.gates_width());
    place(layer.fresh_c, layer.fresh_c_rows, shape.padded());
    place(layer.statistics, layer.statistics_rows, kernels::norm_statistics);
    const Range panels{0, shape.blocks()};
    layer.x_product = product_of<T>(batch, nullptr, shape.input, weights.x.data(), shape.gates_width(),
                                    layer.norm_x_rows.data(), panels);
    layer.h_product = product_of<T>(batch, nullptr, shape.state, weights.h.data(), shape.gates_width(),
                                    layer.norm_h_rows.data(), panels);
    layer.norms = variant.norms;
    layer.step.norms = &layer.norms;
    layer.step.blocks = shape.blocks();
    layer.step.norm_x = layer.norm_x_rows.data();
    layer.step.norm_h = layer.norm_h_rows.data();
    layer.step.gates = layer.gates_rows.data();
    layer.step.fresh_c = layer.fresh_c_rows.data();
    layer.step.statistics = layer.statistics_rows.data();
  }

  void clear(Layer& layer, Index first, Index last) noexcept {
    const auto zero = [&](Buffer<T>& buffer, Index width) {
      std::fill(buffer.data() + first * width, buffer.data() + last * width, T(0));
    };
    zero(layer.h[0], layer.shape.state);
    zero(layer.h[1], layer.shape.state);
    zero(layer.c, layer.shape.padded());
  }

  void step(const T* x, T* y) noexcept {
    const UnitSession session(lstm.impl().arithmetic);
    const int next = 1 - turn;
    Layer& first = layers.front();
    for (Index row = 0; row < batch; ++row) {
      first.x_rows[next][static_cast<std::size_t>(row)] = x + row * first.shape.input;
    }
    for (Layer& layer : layers) {
      layer.step.backwards = turn != 0;
      layer.step.x = layer.x_rows[next].data();
      layer.step.h_prev = layer.step.h_last = layer.h_rows[turn].data();
      layer.step.h = layer.shape.projected ? layer.m_rows.data() : layer.h_rows[next].data();
      if (layer.shape.normed) {
        layer.x_product.a = layer.step.x;
        layer.h_product.a = layer.step.h_prev;
        multiply(layer.x_product, layer.weights->x_lowp, layer.x_lowp);
        multiply(layer.h_product, layer.weights->h_lowp, layer.h_lowp);
        kernels.norm_gates(layer.step);
        kernels.norm_output(layer.step);
      } else {
        if (layer.step.lowp != nullptr) {
          set_rows(layer.x_lowp, layer.step.x, batch);
          set_rows(layer.h_lowp, layer.step.h_prev, batch);
          layer.step_lowp.any_unsplit = layer.x_lowp.any_unsplit(batch) || layer.h_lowp.any_unsplit(batch);
        }
        kernels.step_forward(layer.step);
      }
      if (!layer.shape.projected) continue;
      layer.projection.out = layer.h_rows[next].data();
      multiply(layer.projection, layer.weights->projection_lowp, layer.m_lowp);
      if (proj_clip > 0) kernels.clip(layer.h[next].data(), proj_clip, static_cast<Index>(layer.h[next].size()));
      if (proj_zoneout > 0) {
        zone_out(layer.h[turn].data(), proj_zoneout, layer.h[next].data(), static_cast<Index>(layer.h[next].size()));
      }
    }
    const Buffer<T>& output = layers.back().h[next];
    std::memcpy(y, output.data(), output.size() * sizeof(T));
    turn = next;
  }
};

template <class T>
LstmStream<T>::LstmStream(const Lstm<T>& lstm, std::int64_t batch_size) {
  require(!lstm.config().bidirectional, "lstm: expected one direction to stream through, got a bidirectional one");
  require(!lstm.config().go_backwards, "lstm: expected one that walks forwards to stream through, got go_backwards");
  require(batch_size >= 1, "batch_size: expected at least 1, got ", batch_size);
  impl_ = std::make_unique<Impl>(lstm, batch_size);
}
template <class T>
LstmStream<T>::~LstmStream() = default;
template <class T>
LstmStream<T>::LstmStream(LstmStream&&) noexcept = default;
template <class T>
LstmStream<T>& LstmStream<T>::operator=(LstmStream&&) noexcept = default;

template <class T>
void LstmStream<T>::step(const T* x, T* h) noexcept {
  impl_->step(x, h);
}

template <class T>
void LstmStream<T>::reset() noexcept {
  for (auto& layer : impl_->layers) impl_->clear(layer, 0, impl_->batch);
}

template <class T>
void LstmStream<T>::reset(std::int64_t row) noexcept {
  for (auto& layer : impl_->layers) impl_->clear(layer, row, row + 1);
}

namespace {

/// visit_h(layer, row, unit) and visit_c, for what is there.
template <class U, class VisitH, class VisitC>
void visit_state(const LstmConfig& config, Index batch, const LstmState<U>& state, VisitH&& visit_h, VisitC&& visit_c) {
  if (state.h) require_shape("h", state.h, {config.num_layers, batch, config.state_size()});
  if (state.c) require_shape("c", state.c, {config.num_layers, batch, config.hidden_size});
  for (Index layer = 0; layer < config.num_layers; ++layer) {
    for (Index row = 0; row < batch; ++row) {
      for (Index unit = 0; state.h && unit < config.state_size(); ++unit) visit_h(layer, row, unit);
      for (Index unit = 0; state.c && unit < config.hidden_size; ++unit) visit_c(layer, row, unit);
    }
  }
}

}  // namespace

template <class T>
void LstmStream<T>::get_state(const LstmState<T>& state) const {
  const Impl& impl = *impl_;
  const auto held = [&](Index layer) -> const auto& { return impl.layers[static_cast<std::size_t>(layer)]; };
  visit_state(
      config(), impl.batch, state,
      [&](Index layer, Index row, Index unit) {
        state.h(layer, row, unit) = held(layer).h_rows[impl.turn][static_cast<std::size_t>(row)][unit];
      },
      [&](Index layer, Index row, Index unit) {
        state.c(layer, row, unit) = held(layer).c_rows[static_cast<std::size_t>(row)][unit];
      });
}

template <class T>
void LstmStream<T>::set_state(const LstmState<const T>& state) {
  Impl& impl = *impl_;
  const auto held = [&](Index layer) -> auto& { return impl.layers[static_cast<std::size_t>(layer)]; };
  visit_state(
      config(), impl.batch, state,
      [&](Index layer, Index row, Index unit) {
        held(layer).h_rows[impl.turn][static_cast<std::size_t>(row)][unit] = state.h(layer, row, unit);
      },
      [&](Index layer, Index row, Index unit) {
        held(layer).c_rows[static_cast<std::size_t>(row)][unit] = state.c(layer, row, unit);
      });
}

template <class T>
const LstmConfig& LstmStream<T>::config() const {
  return impl_->lstm.config();
}

template <class T>
std::int64_t LstmStream<T>::batch_size() const {
  return impl_->batch;
}

template class LstmStream<float>;
template class LstmStream<double>;

}  // namespace lstmcore
