// The backward of all layers, from the top.
#pragma once

#include "caller_rows.hpp"
#include "layers.hpp"

namespace lstmcore {

template <class T>
class StackBackward {
 public:
  StackBackward(const typename Lstm<T>::Impl& lstm, typename LstmTape<T>::Impl& tape,
                const LstmOutputGradients<T>& outputs, const LstmInputGradients<T>& inputs)
      : lstm_(lstm), config_(tape.config), tape_(tape), schedule_(tape.schedule), outputs_(outputs), inputs_(inputs) {}

  void run() {
    RowMap<const T> dy;
    if (outputs_.y) dy = output_gradients();
    for (Index layer = config_.num_layers - 1; layer >= 0; --layer) dy = run_layer(layer, dy);
    if (passes_over() && inputs_.x) {
      scatter_steps(schedule_, own_x_.data(), inputs_.x);
    } else {
      zero_padding(schedule_, inputs_.x);
    }
  }

 private:
  bool passes_over() const { return !schedule_.there.empty(); }

  RowMap<const T> output_gradients() {
    if (!passes_over()) return caller_rows(schedule_, outputs_.y);
    const Index width = config_.output_size();
    own_y_.resize(count(schedule_.total * width));
    gather_input(schedule_, outputs_.y, own_y_.data());
    return packed_rows<const T>(schedule_, own_y_.data(), width);
  }

  /// Returns the gradient by the layer's input, which is the next one's dy.
  RowMap<const T> run_layer(Index layer, const RowMap<const T>& dy) {
    const CellShape shape = lstm_.shape(layer);
    const auto state_size = count(schedule_.rows * shape.padded());
    const Index h_width = shape.state_padded();
    const Index width = config_.output_size();
    std::vector<BackwardCell<T>> cells(count(config_.directions()));
    std::vector<Buffer<T>> dh(cells.size()), dc(cells.size()), dh_kept(cells.size()), dm(cells.size());
    std::vector<BackwardPanels<T>> dropped;
    dropped.reserve(cells.size());
    for (Index direction = 0; direction < config_.directions(); ++direction) {
      const std::size_t index = lstm_.cell(layer, direction);
      const std::size_t at = count(direction);
      auto& kept = tape_.cells[index];
      dh[at].resize(count(schedule_.rows * h_width));
      dc[at].resize(state_size);
      const bool reversed = lstm_.reversed(direction);
      gather_final_gradient(schedule_, reversed, outputs_.h, index, shape.state, h_width, dh[at].data());
      gather_final_gradient(schedule_, reversed, outputs_.c, index, shape.hidden, shape.padded(), dc[at].data());
      BackwardCell<T>& cell = cells[at];
      if (config_.weight_dropout > 0.0) {
        dropped.emplace_back(shape, kept.dropped);
        cell.weights = &dropped.back();
      } else {
        cell.weights = &lstm_.backward()[index];
      }
      cell.reversed = reversed;
      cell.x = packed_rows<const T>(schedule_, tape_.input_of(layer).data(), shape.input);
      if (dy) cell.dy = dy.shifted(direction * shape.state);
      cell.h0 = single_rows<const T>(schedule_, kept.h0.data(), shape.state);
      cell.c0 = single_rows<const T>(schedule_, kept.c0.data(), shape.padded());
      cell.gates = packed_rows<const T>(schedule_, kept.gates.data(), shape.gates_width());
      cell.h =
          packed_rows<const T>(schedule_, tape_.layers[count(layer)].h.data(), width).shifted(direction * shape.state);
      cell.c = packed_rows<const T>(schedule_, kept.c.data(), shape.padded());
      cell.dh = single_rows(schedule_, dh[at].data(), h_width);
      if (shape.projected) {
        dm[at].resize(state_size);
        std::fill(dm[at].data(), dm[at].data() + state_size, T(0));
        cell.m = packed_rows<const T>(schedule_, kept.m.data(), shape.hidden);
        cell.dm = single_rows(schedule_, dm[at].data(), shape.padded());
        cell.proj_clip = static_cast<T>(config_.proj_clip);
      }
      cell.dc = single_rows(schedule_, dc[at].data(), shape.padded());
      if (!inputs_.weights.empty()) cell.gradients = inputs_.weights[index];
      cell.variant = tape_.variant(lstm_, index);
      if (config_.zoneout_h > 0.0) {
        dh_kept[at].resize(state_size);
        cell.dh_kept = single_rows(schedule_, dh_kept[at].data(), shape.padded());
      }
      if (kept.h_fed.size() > 0) {
        cell.variant.h_factor = single_rows<const T>(schedule_, kept.h_factor.data(), shape.padded());
        cell.h0 = single_rows<const T>(schedule_, kept.h0_fed.data(), shape.hidden);
        cell.h = packed_rows<const T>(schedule_, kept.h_fed.data(), shape.hidden);
      }
    }
    const RowMap<T> dx = dx_rows(layer, shape);
    walk_backward(shape, schedule_, cells, dx);
    for (Index direction = 0; direction < config_.directions(); ++direction) {
      const std::size_t index = lstm_.cell(layer, direction);
      scatter_state(schedule_, dh[count(direction)].data(), h_width, shape.state, index, inputs_.h);
      scatter_state(schedule_, dc[count(direction)].data(), shape.padded(), shape.hidden, index, inputs_.c);
      if (config_.weight_dropout > 0.0 && !inputs_.weights.empty() && inputs_.weights[index].weight_hh) {
        const std::uint64_t seed = mask_seed(tape_.seed, MaskKind::weight_dropout, static_cast<Index>(index));
        weight_dropout(config_.weight_dropout, seed, inputs_.weights[index].weight_hh);
      }
    }
    if (layer > 0 && config_.dropout > 0.0) {
      layer_dropout(schedule_, config_.dropout, tape_.seed, layer - 1, shape.input, dx.base, dx.base);
    }
    if (layer == 0 && dx && config_.input_dropout > 0.0) {
      sequence_dropout(schedule_, config_.input_dropout, mask_seed(tape_.seed, MaskKind::input_dropout, 0), shape.input,
                       dx);
    }
    return dx.readable();
  }

  /// Where the gradient by the layer's input goes: the caller's dx, if wanted, or a place for the layer below.
  RowMap<T> dx_rows(Index layer, const CellShape& shape) {
    if (layer == 0 && !inputs_.x) return {};
    if (layer == 0 && !passes_over()) return caller_rows(schedule_, inputs_.x);
    if (layer == 0) {
      own_x_.resize(count(schedule_.total * shape.input));
      return packed_rows(schedule_, own_x_.data(), shape.input);
    }
    Buffer<T>& own = dx_[layer % 2];
    own.resize(count(schedule_.total * shape.input));
    return packed_rows(schedule_, own.data(), shape.input);
  }

  const typename Lstm<T>::Impl& lstm_;
  const LstmConfig& config_;
  typename LstmTape<T>::Impl& tape_;
  const Schedule& schedule_;
  const LstmOutputGradients<T>& outputs_;
  const LstmInputGradients<T>& inputs_;
  Buffer<T> dx_[2];
  Buffer<T> own_x_, own_y_;  ///< dx and dy by packed index, where some steps are passed over
};

}  // namespace lstmcore
