// The interface between the engine and the code that is compiled once per instruction set: structs of raw pointers and
// a table of function pointers. Nothing here includes Eigen or the standard library's containers.
//
// A vector has V = `lanes` elements. Hidden units are grouped into blocks of V; a row of gates is laid out block by
// block, [block][gate i, f, g, o][V], so that the four gates of a block are one panel's 4 V columns, and a tile holds
// all that the cell needs. If H is not a multiple of V, the last block is padded with zero weights: a padded row has
// Hp = blocks * V units.
#pragma once

#include <lstmcore/activation.hpp>

#include "lowp/table.hpp"

namespace lstmcore::kernels {

/// Columns of a full panel, in vectors: one for each gate.
constexpr Index panel_vectors = 4;

/// Where the elements of a packed right factor B lie: strip after strip, each [k][its columns]. One or more strips make
/// a panel of 4 V columns. The last strip has only the vectors that it needs.
struct PanelLayout {
  Index lanes;  // V
  Index strip;  // columns of a strip: those of a panel, or a part of them that are whole vectors

  /// Columns of the strip that begins with column `first` of `columns`, padded to whole vectors.
  constexpr Index width(Index first, Index columns) const {
    const Index padded = (columns - first + lanes - 1) / lanes * lanes;
    return padded < strip ? padded : strip;
  }
  /// The place of B[k][column].
  constexpr Index at(Index depth, Index columns, Index k, Index column) const {
    const Index first = column / strip * strip;
    return first * depth + k * width(first, columns) + column - first;
  }
  /// Elements of all of B.
  constexpr Index elements(Index depth, Index columns) const { return depth * ((columns + lanes - 1) / lanes) * lanes; }
};

/// out[r][0..columns) = start + sum over k of a[r][k] * B[k][0..columns), k in rising order, one running sum per
/// element. B is packed (`PanelLayout`).
template <class T>
struct Product {
  Index rows;
  Index depth;
  Index columns;
  const T* const* a;  // row pointers, unit stride along k
  const T* panels;
  T* const* out;                 // row pointers
  const T* bias;                 // start; padded to whole vectors like a panel; null: zeros
  bool accumulate;               // start from the values in `out` instead
  Index panel_begin, panel_end;  // the panels to compute
};

/// The largest depth of a TransposedProduct: the first-level cache holds a tile's columns of this many rows of a. It
/// also limits the length of the chains of additions of a weight gradient, and with it the error: one chain over 1000
/// steps of 16 rows had 4 to 11 times the error of PyTorch's step-by-step sums; cut every 384 rows, the error is no
/// larger than PyTorch's, at a cost of 1 %.
constexpr Index most_transposed_depth = 384;
/// The largest number of rows of an OuterProduct. Up to it, gradients of weights are summed in the caller's array
/// instead of being transposed and unpacked: the backward of one step of one row takes 104 instead of 230 microseconds
/// with 128 to 256 units. With eight rows of 32 units, the TransposedProduct is faster.
constexpr Index most_outer_rows = 4;

/// A product with a transposed left factor, which sums over the rows of a batch: for the columns c of a in
/// [row_begin, row_end), out[c][m] (+)= sum over k of a[k][c] * B[k][m].
template <class T>
struct TransposedProduct {
  Index row_begin, row_end;
  Index depth;  // at most `most_transposed_depth`
  Index columns;
  const T* const* a;  // depth row pointers
  const T* panels;    // as above
  T* out;             // row c at out + c * out_stride
  Index out_stride;
  bool accumulate;  // the sums continue from the values in `out`
  Index panel_begin, panel_end;
  bool add;  // the sums begin with zeros and are added to the values in `out`
};

/// The same for a few rows, without packing: for units u and columns c in [column_begin, column_end), out[u][c] (+)=
/// sum over rows k of a[k][u] * b[k][c].
template <class T>
struct OuterProduct {
  Index rows;  // 1 to `most_outer_rows`
  const T* const* a;
  Index a_begin;  // column of a of the first unit
  Index units;
  const T* const* b;
  Index column_begin, column_end;
  T* out;
  Index out_stride;
  bool accumulate;
};

/// The options of a cell: see LstmConfig.
template <class T>
struct CellOptions {
  LstmFunction gate = LstmFunction::sigmoid, cell = LstmFunction::tanh, output = LstmFunction::tanh;
  T alpha[3] = {}, beta[3] = {};  // of gate, cell, output
  bool coupled = false;
  T gate_clip = 0, cell_clip = 0, output_clip = 0;  // 0: none
  T zoneout_h = 0, zoneout_c = 0;                   // at inference

  /// Whether the cheaper activations are the only option: such a cell has code of its own, like a plain one.
  bool only_fast() const {
    return gate == LstmFunction::fast_sigmoid && cell == LstmFunction::fast_tanh && output == LstmFunction::fast_tanh &&
           !coupled && gate_clip == 0 && cell_clip == 0 && output_clip == 0 && zoneout_h == 0 && zoneout_c == 0;
  }
};

/// Numbers that the tape stores for a row's norms: mean and 1 / sqrt(variance + epsilon) of W x, of U h', and of c.
constexpr Index norm_statistics = 6;

/// The layer norms of a cell: of W x, of U h', and of c on its way to h.
template <class T>
struct CellNorms {
  T epsilon;
  const T* gain_x;  // of all blocks: [block][4][V]
  const T* gain_h;
  const T* gain_c;  // Hp elements
  const T* bias_c;
};

/// What a cell with options reads in addition, forward and backward.
template <class T>
struct CellExtras {
  const CellOptions<T>* options;  // null: a plain cell, and nothing else here is read
  const T* peephole;              // of all blocks: [block][i, f, o][V]; null: none
  const T* const* h_masks;        // masks of zoneout: row pointers, Hp elements, not 0 where h keeps its value;
                                  // null: the expectation, with the rates of CellOptions
  const T* const* c_masks;        // the same for c
};

/// The two products of a step in a lower precision.
struct LowpStep {
  const ProductUnit* unit;
  int terms;
  LowpFactors x, h;       // with panels of all blocks; `x` is not read if StepForward::x_depth is 0
  const char* x_unsplit;  // by row: not 0 if x cannot be split, so that its product is computed in float32
  const char* h_unsplit;  // the same for h
  bool any_unsplit;       // whether one of these is not 0
};

/// One step of some rows of an LSTM layer, for a range of blocks: gate pre-activations, then the cell.
template <class T>
struct StepForward {
  Index rows;
  Index hidden;   // H
  Index h_depth;  // features of h_prev: H, or P with a projection
  Index block_begin, block_end;
  bool backwards;          // take the blocks in falling order, as every other step does: see `step.hpp`
  Index x_depth;           // features of x; 0: `gates` already holds bias + input part
  const T* const* x;       // row pointers
  const T* const* h_prev;  // row pointers, h_depth elements
  const T* const* c_prev;  // row pointers, Hp elements
  const T* x_panels;       // of all blocks, a panel each, with the columns [4][V]
  const T* h_panels;
  const T* bias;         // of all blocks: [block][4][V]
  T* const* gates;       // row pointers, [block][4][V] from block_begin on; null: neither read nor stored
  bool keep_gates;       // store the activations in `gates`
  T* const* c;           // row pointers, Hp elements; may be c_prev
  T* const* h;           // row pointers, H elements; must not overlap h_prev
  T* const* y;           // a second copy of h, or null
  const LowpStep* lowp;  // null: products of T
  CellExtras<T> extras;
  const T* const* h_last;    // row pointers, H elements: h before the step, for zoneout
  const T* const* h_factor;  // row pointers, Hp elements: the next step's input is h times this (dropout); or null
  T* const* h_masked;        // row pointers, H elements, out: h times h_factor; or null

  // Layer norms need all of a row, so a step is split into the products W x and U h', then `norm_gates`, then
  // `norm_output`.
  const CellNorms<T>* norms;
  Index blocks;            // all of a row
  const T* const* norm_x;  // row pointers, 4 Hp elements: W x
  const T* const* norm_h;  // row pointers, 4 Hp elements: U h'
  T* const* fresh_c;       // row pointers, Hp elements: c before zoneout
  T* const* statistics;    // row pointers
};

/// The cell's backward for one step of some rows and a range of blocks.
template <class T>
struct StepBackward {
  Index rows;
  Index hidden;
  Index block_begin, block_end;
  const T* const* dy;      // row pointers, H elements, or null
  const T* const* dh;      // row pointers, Hp elements: gradient with respect to h, from the step after
  T* const* dc;            // row pointers, Hp elements: with respect to c (in), to c_prev (out)
  const T* const* c_prev;  // row pointers, Hp elements
  const T* const* c;
  const T* const* gates;  // activations
  T* const* dgates;       // out: gradients with respect to the pre-activations; may be `gates`
  CellExtras<T> extras;
  T* const* dh_passed;  // row pointers, Hp elements, out: what zoneout passes on to h before the step; or null

  // Layer norms, in three steps: `norm_output_backward`, `norm_gates_backward`, `norm_rows_backward`. A row of dgates
  // then holds the gradients with respect to the pre-activations, W x and U h', 4 Hp elements each, then those with
  // respect to gain * normed c + bias, and the normed c, Hp elements each.
  const CellNorms<T>* norms;
  Index blocks;
  const T* const* norm_x;
  const T* const* norm_h;
  const T* const* statistics;
};

/// The gradients with respect to the gains and biases of layer norms and to the bias of the gates, summed over rows in
/// their order, for some blocks.
template <class T>
struct NormSums {
  Index blocks;  // all of a row
  Index block_begin, block_end;
  Index rows;
  T* const* dgates;  // row pointers, as above
  const T* const* norm_x;
  const T* const* norm_h;
  const T* const* statistics;
  T* bias;    // [block][4][V], of all blocks; null: not computed
  T* gain_x;  // [block][4][V], of all blocks
  T* gain_h;
  T* gain_c;  // Hp elements
  T* bias_c;
};

/// Row pointers to values and to their tangents, which are derivatives along one direction.
template <class T>
struct DualRows {
  T* const* value;
  T* const* tangent;
};

/// The tangents of a step's cell, all blocks. `gates` and the values of c_prev are the tape's.
template <class T>
struct TangentForward {
  Index rows;
  Index hidden;
  const T* const* gates;     // activations
  T* const* gates_tangent;   // in: of the pre-activations without peepholes; out: of the activations
  DualRows<const T> c_prev;  // row pointers, Hp elements
  T* const* c_tangent;       // Hp elements
  T* const* h_tangent;       // H elements
  CellExtras<T> extras;      // `options` is never null here, not even for a plain cell
  const T* peephole_tangent;
  const T* const* h_last_tangent;  // H elements: of h before the step, for zoneout

  // Layer norms: the tangents of the products are given, those of the gates and statistics computed.
  const CellNorms<T>* norms;  // null: none, and nothing below is read
  const CellNorms<T>* norms_tangent;
  const T* bias_tangent;         // [block][4][V]
  DualRows<const T> norm_x;      // 4 Hp elements: W x
  DualRows<const T> norm_h;      // 4 Hp elements: U h'
  const T* const* statistics;    // row pointers
  T* const* statistics_tangent;  // out
  T* scratch;                    // 2 Hp elements
};

/// The gradients of a step's cell, all blocks, and their tangents. Compare StepBackward.
template <class T>
struct TangentBackward {
  Index rows;
  Index hidden;
  DualRows<const T> gates;  // activations
  DualRows<const T> c_prev;
  DualRows<const T> dy;  // H elements, or null
  DualRows<const T> dh;
  DualRows<T> dc;         // with respect to c (in), to c_prev (out)
  DualRows<T> dgates;     // out: with respect to the pre-activations; with layer norms, to W x
  DualRows<T> dh_passed;  // out: what zoneout passes on to h before the step; or null
  CellExtras<T> extras;
  const T* peephole_tangent;
  T* const* bias_sums;      // row pointers, 4 Hp elements: += the tangents of dgates
  T* const* peephole_sums;  // [block][i, f, o][V]: += the tangents of the peephole weights' gradients; or null

  const CellNorms<T>* norms;  // null: none, and nothing below is read
  const CellNorms<T>* norms_tangent;
  DualRows<const T> norm_x;
  DualRows<const T> norm_h;
  DualRows<const T> statistics;
  DualRows<T> dgates_h;  // out: with respect to U h'
  T* scratch;            // 4 Hp elements
  T* const* norm_sums;   // gains of W x and of U h', gain and bias of c: += the tangents of their gradients
};

/// Kernels of one element type that only training and derivatives need. They have a table of their own, so that linkers
/// leave them out of programs that only run models.
template <class T>
struct TrainingKernels {
  void (*outer_product)(const OuterProduct<T>&);
  void (*step_backward)(const StepBackward<T>&);
  /// With layer norms, instead of step_backward: the gradients with respect to o and the normed c; then those with
  /// respect to the pre-activations and c before the step; then those with respect to W x and U h'.
  void (*norm_output_backward)(const StepBackward<T>&);
  void (*norm_gates_backward)(const StepBackward<T>&);
  void (*norm_rows_backward)(const StepBackward<T>&);
  void (*add_norms)(const NormSums<T>&);
  void (*tangent_forward)(const TangentForward<T>&);
  void (*tangent_backward)(const TangentBackward<T>&);
  /// dz = dy * (derivative of the activation, from its result y). Pointers need no alignment, here and below.
  void (*sigmoid_backward)(const T* y, const T* dy, T* dz, Index n);
  void (*tanh_backward)(const T* y, const T* dy, T* dz, Index n);
  void (*relu_backward)(const T* y, const T* dy, T* dz, Index n);
  /// dx, unless null; dgain += dy (x - mean) scale; dshift += dy.
  void (*normalize_backward)(const T* x, const T* gain, const T* moments, const T* dy, T* dx, T* dgain, T* dshift,
                             Index n);
  /// sums[block][i, f, o][V] += the gradients with respect to the peephole weights that one row contributes.
  void (*add_peephole)(const T* dgates, const T* gates, const T* c_prev, T cell_clip, T* sums, Index blocks);
  void (*sgd)(T* parameter, const T* gradient, T* velocity, Index n, T learning_rate, T momentum, bool nesterov);
  /// decay = 1 - rho; for adam decay1 = 1 - beta1, decay2 = 1 - beta2: in float, 1 - T(beta) would be wrong by up to
  /// 5e-5 of its value. correction1 = 1 / (1 - beta1^step), correction2 = 1 / (1 - beta2^step).
  void (*rmsprop)(T* parameter, const T* gradient, T* mean_square, Index n, T learning_rate, T decay, T epsilon);
  void (*adam)(T* parameter, const T* gradient, T* m, T* v, Index n, T learning_rate, T decay1, T decay2, T correction1,
               T correction2, T epsilon, T weight_decay);
  double (*squared_norm)(const T* x, Index n);
};

/// Those of the instruction set in use (runtime/isa.cpp).
template <class T>
const TrainingKernels<T>& training_kernels();

/// All kernels for one element type.
template <class T>
struct Kernels {
  Index lanes;      // V
  Index strip;      // columns of a strip of a packed right factor
  Index tile_rows;  // rows of a full tile
  PanelLayout layout() const { return {lanes, strip}; }
  void (*product)(const Product<T>&);
  void (*transposed_product)(const TransposedProduct<T>&);
  /// to[column * to_stride + row] = from[row * from_stride + column].
  void (*transpose)(const T* from, Index from_stride, Index rows, Index columns, T* to, Index to_stride);
  void (*step_forward)(const StepForward<T>&);
  /// With layer norms, instead of step_forward: the statistics of W x and U h', the gates and c before zoneout; then
  /// the statistics of c, h, and c after zoneout.
  void (*norm_gates)(const StepForward<T>&);
  void (*norm_output)(const StepForward<T>&);

  // Elementwise work over n elements. Pointers need no alignment.
  void (*sigmoid)(const T* x, T* y, Index n);
  void (*tanh)(const T* x, T* y, Index n);
  void (*relu)(const T* x, T* y, Index n);
  void (*exp)(const T* x, T* y, Index n);
  void (*softmax)(const T* x, T* y, Index n);   // one row
  void (*add)(const T* x, T* y, Index n);       // y += x
  void (*multiply)(const T* x, T* y, Index n);  // y *= x
  /// One row of a layer normalization: y = (x - mean) * scale * gain + shift with scale = 1 / sqrt(variance + epsilon);
  /// gain and shift may be null. moments: mean, scale.
  void (*normalize)(const T* x, const T* gain, const T* shift, double epsilon, T* y, T* moments, Index n);
  void (*scale)(T* x, T factor, Index n);
  void (*clip)(T* x, T limit, Index n);
  /// Philox keep-mask of elements first .. first + n: y = x * factor where kept, else 0.
  void (*dropout)(const T* x, T* y, Index n, std::uint64_t seed, std::uint64_t first, std::uint32_t threshold,
                  T factor);

  // What training needs, too: the functions of TrainingKernels<T>.
#define LSTMCORE_OF_TRAINING(name)                   \
  template <class... Arguments>                      \
  auto name(const Arguments&... arguments) const {   \
    return training_kernels<T>().name(arguments...); \
  }
  LSTMCORE_OF_TRAINING(outer_product)
  LSTMCORE_OF_TRAINING(step_backward)
  LSTMCORE_OF_TRAINING(norm_output_backward)
  LSTMCORE_OF_TRAINING(norm_gates_backward)
  LSTMCORE_OF_TRAINING(norm_rows_backward)
  LSTMCORE_OF_TRAINING(add_norms)
  LSTMCORE_OF_TRAINING(tangent_forward)
  LSTMCORE_OF_TRAINING(tangent_backward)
  LSTMCORE_OF_TRAINING(sigmoid_backward)
  LSTMCORE_OF_TRAINING(tanh_backward)
  LSTMCORE_OF_TRAINING(relu_backward)
  LSTMCORE_OF_TRAINING(normalize_backward)
  LSTMCORE_OF_TRAINING(add_peephole)
  LSTMCORE_OF_TRAINING(sgd)
  LSTMCORE_OF_TRAINING(rmsprop)
  LSTMCORE_OF_TRAINING(adam)
  LSTMCORE_OF_TRAINING(squared_norm)
#undef LSTMCORE_OF_TRAINING
};

/// Words of a row of memory, each of which goes into a lane of its own.
constexpr std::size_t fingerprint_lanes = 64;

/// What does not depend on the element type.
struct KernelTable {
  LowpKernels lowp;
  /// The lanes after all of some memory; the same on every instruction set.
  void (*fingerprint)(const void* memory, std::size_t bytes, std::uint32_t* lanes);
};

}  // namespace lstmcore::kernels
