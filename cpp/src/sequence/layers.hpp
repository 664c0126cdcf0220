// What Lstm, LstmTape and LstmStream hold.
#pragma once

#include <mutex>

#include "../isa/isa.hpp"
#include "walk.hpp"

namespace lstmcore {

template <class T>
struct Lstm<T>::Impl {
  explicit Impl(const LstmConfig& configuration);

  LstmConfig config;
  bool plain;                             ///< no variant of the cell
  kernels::CellOptions<T> options;        ///< what varies
  std::vector<ForwardPanels<T>> forward;  ///< entry layer * D + direction

  /// What varies in a cell; `seed`: of a training forward.
  CellVariant<T> variant(std::size_t cell) const;
  CellVariant<T> variant(std::size_t cell, std::uint64_t seed) const;

  CellShape shape(Index layer) const {
    return {config.layer_input_size(layer), config.hidden_size, config.state_size(), active_kernels<T>().lanes,
            config.proj_size > 0};
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

template <class T>
struct LstmTape<T>::Impl {
  /// What one direction of a layer leaves for its backward, by packed index.
  struct Cell {
    Buffer<T> gates;  ///< [total][4 Hp] activations; the backward turns them into gradients
    Buffer<T> c;      ///< [total][Hp]
    Buffer<T> h0;     ///< [N][width of h]
    Buffer<T> c0;     ///< [N][Hp]
    Buffer<T> m;      ///< [total][H], with a projection: what h is the projection of
    // With recurrent dropout: its mask, and h0 and h times that.
    Buffer<T> h_factor;        ///< [N][Hp]
    Buffer<T> h0_fed;          ///< [N][H]
    Buffer<T> h_fed;           ///< [total][H]
    ForwardPanels<T> dropped;  ///< with dropout of the recurrent weights: what is left of all weights
  };
  struct Layer {
    Buffer<T> input;  ///< [total][input]; empty if it is the layer below's output as it stands
    Buffer<T> h;      ///< [total][D * H]
  };

  bool ready = false;
  bool open = false;  ///< begun, and fed step by step
  std::shared_ptr<const typename Lstm<T>::Impl> lstm;
  Schedule schedule;
  LstmConfig config;  ///< as it was at work: without dropout if nothing was random
  bool random = true;
  std::uint64_t seed = 0;
  std::vector<Layer> layers;
  std::vector<Cell> cells;

  /// What varies in a cell, with the masks of zoneout that were at work.
  CellVariant<T> variant(const typename Lstm<T>::Impl& of, std::size_t cell) const {
    return random ? of.variant(cell, seed) : of.variant(cell);
  }
  /// The input of a layer by packed index: the layer below's output, if that went on as it stands.
  Buffer<T>& input_of(Index layer) {
    const auto at = static_cast<std::size_t>(layer);
    return layer == 0 || layers[at].input.size() > 0 ? layers[at].input : layers[at - 1].h;
  }
  std::size_t bytes() const;
};

/// A configuration as it is at work where nothing is random.
LstmConfig without_dropout(LstmConfig config);

/// Dropout between layers: y = mask(x) / (1 - rate) for the output of layer `layer`, or its backward. Rows `width`
/// wide, packed. An element's place in the mask depends on its place in the caller's (N, T, width) output only.
template <class T>
void layer_dropout(const Schedule& schedule, double rate, std::uint64_t seed, Index layer, Index width, const T* x,
                   T* y);

/// Dropout with one mask per row for all steps, in place, of the valid rows of (time, sorted row): element (row n of
/// the batch, feature k) is at n width + k of the mask.
template <class T>
void sequence_dropout(const Schedule& schedule, double rate, std::uint64_t seed, Index width, const RowMap<T>& rows);

/// Dropout of the recurrent weights, in place: of the gradient by them, from that by what was left of them.
template <class T>
void weight_dropout(double rate, std::uint64_t seed, const View<T, 2>& matrix);

}  // namespace lstmcore
