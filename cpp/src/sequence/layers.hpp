// What Lstm and LstmTape hold.
#pragma once

#include <mutex>

#include "../runtime/isa.hpp"
#include "walk.hpp"

namespace lstmcore {

/// Sizes of the cells of a layer, whose weights are packed in this layout.
inline CellShape cell_shape(const LstmConfig& config, Index layer, kernels::PanelLayout layout,
                            const Arithmetic& arithmetic, Index gates = gate_count) {
  return {config.layer_input_size(layer), config.hidden_size, config.state_size(), layout.lanes, layout.strip,
          config.proj_size > 0,           config.layer_norm,  arithmetic,          gates};
}

template <class T>
struct Lstm<T>::Impl {
  Impl(const LstmConfig& configuration, Precision of_products, Index gates_of_a_cell = gate_count);

  /// Packs the weights; `named`: their names and shapes.
  void pack(std::vector<LstmParameter> named, const LstmWeights<T>& weights);

  LstmConfig config;
  Precision precision;
  Index gates;                            ///< of a cell: 1 in a simple RNN, whose options are those of `rnn.cpp`
  Arithmetic arithmetic;                  ///< how its products are computed on this machine
  std::vector<LstmParameter> parameters;  ///< of `config`
  bool plain;                             ///< no variant of the cell
  kernels::CellOptions<T> options;        ///< of the variants
  std::vector<ForwardPanels<T>> forward;  ///< entry layer * D + direction

  /// Throws std::invalid_argument if this is for inference only.
  void require_training() const;
  /// The variant of a cell; `seed`: of a training forward.
  CellVariant<T> variant(std::size_t cell) const;
  CellVariant<T> variant(std::size_t cell, std::uint64_t seed) const;

  CellShape shape(Index layer) const {
    return cell_shape(config, layer, active_kernels<T>().layout(), arithmetic, gates);
  }
  /// Tangents are computed in the precision of T, whatever that of the values.
  CellShape shape_of_tangents(Index layer) const {
    CellShape own = shape(layer);
    own.arithmetic = {};
    return own;
  }
  std::size_t cell(Index layer, Index direction) const {
    return static_cast<std::size_t>(layer * config.directions() + direction);
  }
  bool reversed(Index direction) const { return config.go_backwards || direction == 1; }

  /// Packed at the first backward, so that inference does not pay for them.
  const std::vector<BackwardPanels<T>>& backward() const;

 private:
  mutable std::once_flag backward_packed_;
  mutable std::vector<BackwardPanels<T>> backward_;
};

/// The steps of a sequence cut into time segments. If there are several, a forward stores only the states between them,
/// and the backward computes the rest of a segment again before it walks back through it.
class Segments {
 public:
  Segments() = default;
  /// `every`: steps of a segment; 0: all; recompute_sqrt: about the square root of all.
  Segments(Index longest, Index every);

  Index count() const { return count_; }
  bool again() const { return count_ > 1; }
  Range of(Index segment) const { return {segment * every_, std::min((segment + 1) * every_, longest_)}; }
  /// Valid steps of the first segment, which has the most: memory for one segment at a time must hold them.
  Index most_rows(const Schedule& schedule) const { return schedule.work(0, of(0).end); }
  /// States that a tape holds: those before each segment, and if there are several also the last.
  Index states() const { return again() ? count_ + 1 : count_; }

 private:
  Index longest_ = 0, every_ = 0, count_ = 1;
};

/// Whether layers pass their outputs on one segment at a time: in a stack that only walks forwards, where time t is
/// step t.
inline bool passes_segments(const LstmConfig& config, const Segments& segments) {
  return segments.again() && !config.bidirectional && !config.go_backwards;
}

/// What the buffers of a direction of a layer have to hold.
inline StepRoom room_of(const Schedule& schedule, const Segments& segments) {
  return {schedule.rows, segments.most_rows(schedule), segments.states(), schedule.longest};
}

/// Valid steps for which layers hold what they pass on: all, or those of the longest segment.
inline Index passed_steps(const LstmConfig& config, const Segments& segments, Index of_segment, Index all) {
  return passes_segments(config, segments) ? of_segment : all;
}

/// How many layers go through a segment together, before the next ones begin. If layers pass on segments, these are all
/// layers, and data between them is stored for one segment only; otherwise a layer needs all steps of the one below.
inline Index layers_together(const LstmConfig& config, const Segments& segments) {
  return segments.again() && !passes_segments(config, segments) ? 1 : config.num_layers;
}

template <class T>
struct LstmTape<T>::Impl {
  /// What layers pass to each other, by (time, row).
  struct Layer {
    Buffer<T> input;  ///< [rows of all steps][input]; empty: the h of the layer below, unchanged
    Buffer<T> h;      ///< [rows of all steps][D * H]
  };

  bool ready = false;
  bool open = false;  ///< begun, and taking one step at a time
  std::shared_ptr<const typename Lstm<T>::Impl> lstm;
  Schedule schedule;
  LstmConfig config;  ///< of the forward: without dropout if nothing was random
  bool random = true;
  std::uint64_t seed = 0;
  Segments segments;
  std::vector<Layer> layers;
  std::vector<StepState<T>> cells;        ///< entry layer * D + direction
  std::vector<ForwardPanels<T>> dropped;  ///< what dropout of the recurrent weights leaves; empty without it

  /// The variant of a cell, with the forward's masks of zoneout.
  CellVariant<T> variant(const typename Lstm<T>::Impl& of, std::size_t cell) const {
    return random ? of.variant(cell, seed) : of.variant(cell);
  }
  /// The input of a layer by packed index.
  Buffer<T>& input_of(Index layer) {
    const auto at = static_cast<std::size_t>(layer);
    return layer == 0 || layers[at].input.size() > 0 ? layers[at].input : layers[at - 1].h;
  }
  std::size_t bytes() const;
};

/// The configuration of a forward in which nothing is random.
LstmConfig without_dropout(LstmConfig config);

/// Dropout between layers: y = mask(x) / (1 - rate) for some times of the output of layer `layer`, or its backward.
/// Rows `width` wide. An element's place in the mask depends on its place in the caller's (N, T, width) output only.
template <class T>
void layer_dropout(const Schedule& schedule, double rate, std::uint64_t seed, Index layer, Index width, Range times,
                   const RowMap<const T>& x, const RowMap<T>& y);

/// Dropout with one mask per row for all steps, in place, of the valid rows of (time, sorted row) at some times:
/// element (row n of the batch, feature k) is at n width + k of the mask.
template <class T>
void sequence_dropout(const Schedule& schedule, double rate, std::uint64_t seed, Index width, Range times,
                      const RowMap<T>& rows);

/// The mask that recurrent dropout multiplies h with, [N][padded P]; and h0 [N][P] times that.
template <class T>
void recurrent_mask(const Schedule& schedule, double rate, std::uint64_t seed, const CellShape& shape, T* mask);
template <class T>
void mask_initial_state(const Schedule& schedule, const CellShape& shape, const T* h0, const T* mask, T* masked);

/// Dropout of the recurrent weights, in place: turns the gradient with respect to the dropped weights into that with
/// respect to the weights.
template <class T>
void weight_dropout(double rate, std::uint64_t seed, const View<T, 2>& matrix);

}  // namespace lstmcore
