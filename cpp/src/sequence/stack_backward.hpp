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
      : lstm_(lstm), config_(lstm.config), tape_(tape), schedule_(tape.schedule), outputs_(outputs), inputs_(inputs) {}

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

  RowMap<const T> layer_input(Index layer) const {
    const auto& kept = tape_.layers[count(layer)];
    const Index width = config_.layer_input_size(layer);
    if (kept.input.size() > 0 || layer == 0) return packed_rows<const T>(schedule_, kept.input.data(), width);
    return packed_rows<const T>(schedule_, tape_.layers[count(layer) - 1].h.data(), width);
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
      gather_state_gradients(index, shape, lstm_.reversed(direction), dh[at].data(), dc[at].data());
      BackwardCell<T>& cell = cells[at];
      if (config_.weight_dropout > 0.0) {
        dropped.emplace_back(shape, kept.dropped);
        cell.weights = &dropped.back();
      } else {
        cell.weights = &lstm_.backward()[index];
      }
      cell.reversed = lstm_.reversed(direction);
      cell.x = layer_input(layer);
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
      cell.variant = lstm_.variant(index, tape_.seed);
      if (cell.variant.zoneout_h.at_work) {
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
      if (config_.weight_dropout > 0.0 && !inputs_.weights.empty()) drop_gradient(index, inputs_.weights[index]);
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

  /// The gradient by the recurrent weights, from that by what dropout left of them.
  void drop_gradient(std::size_t index, const LstmCellWeights<T>& gradients) const {
    const View<T, 2>& matrix = gradients.weight_hh;
    if (!matrix) return;
    const DropoutMask mask(config_.weight_dropout);
    const std::uint64_t seed = mask_seed(tape_.seed, MaskKind::weight_dropout, static_cast<Index>(index));
    const Index width = matrix.shape[1];
    std::vector<T> row(count(width));
    for (Index r = 0; r < matrix.shape[0]; ++r) {
      for (Index k = 0; k < width; ++k) row[count(k)] = matrix(r, k);
      active_kernels<T>().dropout(row.data(), row.data(), width, seed, static_cast<std::uint64_t>(r * width),
                                  mask.threshold, static_cast<T>(mask.factor));
      for (Index k = 0; k < width; ++k) matrix(r, k) = row[count(k)];
    }
  }

  void gather_state_gradients(std::size_t index, const CellShape& shape, bool reversed, T* dh, T* dc) const {
    gather_state(schedule_, outputs_.h, index, shape.state, shape.state_padded(), dh);
    gather_state(schedule_, outputs_.c, index, shape.hidden, shape.padded(), dc);
    for (Index row = 0; row < schedule_.rows; ++row) {
      if (!schedule_.cut_at_end(row, reversed)) continue;
      std::fill_n(dh + row * shape.state_padded(), shape.state_padded(), T(0));
      std::fill_n(dc + row * shape.padded(), shape.padded(), T(0));
    }
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
