// One step at a time. The constructor lays out all memory and pointers that the kernels need; a step only swaps which
// of two places holds the last h.
#include <cstring>

#include "../sequence/layers.hpp"
#include "check.hpp"

namespace lstmcore {

template <class T>
struct LstmStream<T>::Impl {
  struct Layer {
    CellShape shape;
    const ForwardPanels<T>* weights = nullptr;
    StepState<T> state;  ///< its two places hold the last h and the next one, alternately
    StepFields<RowMap<T>> rows;
    kernels::CellNorms<T> norms{};
    kernels::StepForward<T> step{};
    kernels::LowpStep step_lowp{};
    kernels::Product<T> x_product{}, h_product{}, projection{};  ///< of a step that is computed in parts
    LowpRows x_lowp, h_lowp, m_lowp;
    // One entry per row of the batch; x and h have two such arrays, used alternately. Each step sets x of the first
    // layer.
    PointerArrays pointers;
    const T** x[2] = {nullptr, nullptr};
    T** h[2] = {nullptr, nullptr};
    T **c = nullptr, **m = nullptr, **gates = nullptr, **norm_x = nullptr, **norm_h = nullptr, **fresh_c = nullptr,
      **statistics = nullptr;
  };

  Lstm<T> lstm;
  Index batch;
  const Schedule schedule;  ///< of two steps: the last one and the next
  const kernels::Kernels<T>& kernels;
  const T proj_clip, proj_zoneout;
  std::vector<Layer> layers;
  int turn = 0;

  Impl(const Lstm<T>& source, Index batch_size)
      : lstm(source),
        batch(batch_size),
        schedule(batch, 2, {}, {}),
        kernels(active_kernels<T>()),
        proj_clip(static_cast<T>(source.config().proj_clip)),
        proj_zoneout(static_cast<T>(source.config().proj_size > 0 ? source.config().zoneout_h : 0.0)) {
    layers.resize(static_cast<std::size_t>(lstm.config().num_layers));
    for (std::size_t index = 0; index < layers.size(); ++index) prepare(index);
  }

  void prepare(std::size_t index) {
    Layer& layer = layers[index];
    layer.shape = lstm.impl().shape(static_cast<Index>(index));
    layer.weights = &lstm.impl().forward[index];
    const auto buffers = step_buffers(layer.shape, StepUse::stream, false);
    layer.state.resize(buffers, {batch});
    layer.state.bind(buffers, schedule, layer.rows);
    prepare_pointers(index);
    prepare_step(layer, lstm.impl().variant(index));
    if (layer.weights->h_lowp) prepare_lowp(layer);
    if (layer.shape.projected) prepare_projection(layer);
    if (layer.shape.normed) prepare_norms(layer);
    clear(layer, 0, batch);
  }

  void prepare_pointers(std::size_t index) {
    Layer& layer = layers[index];
    const StepFields<RowMap<T>>& rows = layer.rows;
    const auto size = static_cast<std::size_t>(batch);
    layer.pointers = PointerArrays([&](auto& layout) {
      layout.take(size, layer.x[0], layer.x[1], layer.h[0], layer.h[1], layer.c);
      if (rows.m) layout.take(size, layer.m);
      if (layer.shape.normed) {
        layout.take(size, layer.gates, layer.norm_x, layer.norm_h, layer.fresh_c, layer.statistics);
      }
    });
    const auto fill = [&](T** pointers, const RowMap<T>& map, Index time) {
      for (Index row = 0; map && row < batch; ++row) pointers[row] = map.at(time, row);
    };
    for (int side = 0; side < 2; ++side) {
      fill(layer.h[side], rows.h, side);
      if (index == 0) {
        std::fill_n(layer.x[side], size, nullptr);
      } else {
        std::copy_n(layers[index - 1].h[side], size, layer.x[side]);
      }
    }
    fill(layer.c, rows.c, 0);
    fill(layer.m, rows.m, 0);
    fill(layer.gates, rows.gates, 0);
    fill(layer.norm_x, rows.norm_x, 0);
    fill(layer.norm_h, rows.norm_h, 0);
    fill(layer.fresh_c, rows.fresh_c, 0);
    fill(layer.statistics, rows.statistics, 0);
  }

  void prepare_step(Layer& layer, const CellVariant<T>& variant) {
    layer.step.rows = batch;
    layer.step.hidden = layer.shape.hidden;
    layer.step.h_depth = layer.shape.state;
    layer.step.block_end = layer.shape.blocks();
    layer.step.x_depth = layer.shape.input;
    layer.step.x_panels = layer.weights->x.data();
    layer.step.h_panels = layer.weights->h.data();
    layer.step.bias = layer.weights->bias.data();
    layer.step.c_prev = layer.c;
    layer.step.c = layer.c;
    layer.step.extras = {variant.options, variant.peephole, nullptr, nullptr};
    layer.norms = variant.norms;
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

  void prepare_projection(Layer& layer) {
    const CellShape& shape = layer.shape;
    const Range panels{0, (shape.state + shape.block_width() - 1) / shape.block_width()};
    layer.projection =
        product_of<T>(batch, layer.m, shape.hidden, layer.weights->projection.data(), shape.state, nullptr, panels);
  }

  void prepare_norms(Layer& layer) {
    const CellShape& shape = layer.shape;
    const Range panels{0, shape.blocks()};
    layer.x_product =
        product_of<T>(batch, nullptr, shape.input, layer.weights->x.data(), shape.gates_width(), layer.norm_x, panels);
    layer.h_product =
        product_of<T>(batch, nullptr, shape.state, layer.weights->h.data(), shape.gates_width(), layer.norm_h, panels);
    layer.step.norms = &layer.norms;
    layer.step.blocks = shape.blocks();
    layer.step.norm_x = layer.norm_x;
    layer.step.norm_h = layer.norm_h;
    layer.step.gates = layer.gates;
    layer.step.fresh_c = layer.fresh_c;
    layer.step.statistics = layer.statistics;
  }

  /// Zeroes the state of some rows.
  void clear(Layer& layer, Index first, Index last) noexcept {
    for (Index row = first; row < last; ++row) {
      for (T* const* const h : layer.h) std::fill_n(h[row], layer.shape.state, T(0));
      std::fill_n(layer.c[row], layer.shape.padded(), T(0));
    }
  }

  void step(const T* x, T* y) noexcept {
    const UnitSession session(lstm.impl().arithmetic);
    const int next = 1 - turn;
    Layer& first = layers.front();
    for (Index row = 0; row < batch; ++row) first.x[next][row] = x + row * first.shape.input;
    for (Layer& layer : layers) {
      layer.step.backwards = turn != 0;
      layer.step.x = layer.x[next];
      layer.step.h_prev = layer.step.h_last = layer.h[turn];
      layer.step.h = layer.shape.projected ? layer.m : layer.h[next];
      if (layer.shape.normed) {
        normed_step(layer);
      } else {
        if (layer.step.lowp != nullptr) set_lowp(layer);
        kernels.step_forward(layer.step);
      }
      if (layer.shape.projected) project(layer, next);
    }
    const Layer& last = layers.back();
    std::memcpy(y, last.h[next][0], static_cast<std::size_t>(batch * last.shape.state) * sizeof(T));
    turn = next;
  }

  void normed_step(Layer& layer) noexcept {
    layer.x_product.a = layer.step.x;
    layer.h_product.a = layer.step.h_prev;
    multiply(layer.x_product, layer.weights->x_lowp, layer.x_lowp);
    multiply(layer.h_product, layer.weights->h_lowp, layer.h_lowp);
    kernels.norm_gates(layer.step);
    kernels.norm_output(layer.step);
  }

  void set_lowp(Layer& layer) noexcept {
    set_rows(layer.x_lowp, layer.step.x, batch);
    set_rows(layer.h_lowp, layer.step.h_prev, batch);
    layer.step_lowp.any_unsplit = layer.x_lowp.any_unsplit(batch) || layer.h_lowp.any_unsplit(batch);
  }

  /// h = clip(R m) after zoneout, of all rows, which follow each other.
  void project(Layer& layer, int next) noexcept {
    layer.projection.out = layer.h[next];
    multiply(layer.projection, layer.weights->projection_lowp, layer.m_lowp);
    const Index size = batch * layer.shape.state;
    if (proj_clip > 0) kernels.clip(layer.h[next][0], proj_clip, size);
    if (proj_zoneout > 0) zone_out(layer.h[turn][0], proj_zoneout, layer.h[next][0], size);
  }
};

template <class T>
LstmStream<T>::LstmStream(const Lstm<T>& lstm, std::int64_t batch_size) {
  const EngineFloats floats;
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
  const EngineMode mode;
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

/// Calls visit_h(layer, row, unit) and visit_c for the elements of the views that are present.
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
      [&](Index layer, Index row, Index unit) { state.h(layer, row, unit) = held(layer).h[impl.turn][row][unit]; },
      [&](Index layer, Index row, Index unit) { state.c(layer, row, unit) = held(layer).c[row][unit]; });
}

template <class T>
void LstmStream<T>::set_state(const LstmState<const T>& state) {
  Impl& impl = *impl_;
  const auto held = [&](Index layer) -> auto& { return impl.layers[static_cast<std::size_t>(layer)]; };
  visit_state(
      config(), impl.batch, state,
      [&](Index layer, Index row, Index unit) { held(layer).h[impl.turn][row][unit] = state.h(layer, row, unit); },
      [&](Index layer, Index row, Index unit) { held(layer).c[row][unit] = state.c(layer, row, unit); });
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
