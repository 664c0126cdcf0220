// The border between the engine and the code that is compiled once per instruction set: plain structs of raw pointers
// and a table of plain function pointers. Nothing here includes Eigen or the standard library's containers.
//
// Vectors hold V = `lanes` elements. Hidden units are grouped into blocks of V; a row of gates is laid out block by
// block, [block][gate i, f, g, o][V], so that the four gates of a block are one panel's 4 V columns. Hidden sizes that
// are no multiple of V are padded with zero weights: a padded row has Hp = blocks * V units.
#pragma once

#include <lstmcore/activation.hpp>

#include "lowp/table.hpp"

namespace lstmcore::kernels {

/// Columns of a full panel, in vectors.
constexpr Index panel_vectors = 4;

/// out[r][0..columns) = start + sum over k of a[r][k] * B[k][0..columns), k in rising order, one running sum per
/// element. B is packed in panels of 4 V columns, panel after panel, each [k][its columns]; the last panel is narrowed
/// to the vectors that it needs (`panel_elements`).
template <class T>
struct Product {
  Index rows;
  Index depth;
  Index columns;
  const T* const* a;  // row pointers, unit stride along k
  const T* panels;
  T* const* out;                 // row pointers
  const T* bias;                 // start: padded to whole vectors like a panel; null: zeros
  bool accumulate;               // start from what `out` holds instead
  Index panel_begin, panel_end;  // the panels to compute
};

/// Depth of a TransposedProduct: what the first-level cache holds of a few columns.
constexpr Index most_transposed_depth = 384;
/// Rows of an OuterProduct: with more, it is the TransposedProduct that pays.
constexpr Index most_outer_rows = 4;

/// The same with a transposed left factor, for products over all rows of a batch: for the columns c of a in
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
  bool accumulate;  // the sums go on from what is in `out`
  Index panel_begin, panel_end;
  bool add;  // the sums begin with zeros and are added to what is in `out`
};

/// The same for few rows, written where and as the caller wants it: for units u and columns c in [column_begin,
/// column_end), out[u][c] (+)= sum over rows k of a[k][u] * b[k][c].
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

/// How a cell departs from the plain one: see LstmConfig. Chosen once per call; each vector asks again, which costs
/// little beside its work.
template <class T>
struct CellOptions {
  LstmFunction gate = LstmFunction::sigmoid, cell = LstmFunction::tanh, output = LstmFunction::tanh;
  T alpha[3] = {}, beta[3] = {};  // of gate, cell, output
  bool coupled = false;
  T gate_clip = 0, cell_clip = 0;  // 0: none
  T zoneout_h = 0, zoneout_c = 0;  // at inference
};

/// Numbers that the norms of a row leave: mean and 1 / sqrt(variance + epsilon) of W x, of U h', of c.
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

/// What a varied cell reads beside the plain one, forward and backward.
template <class T>
struct CellExtras {
  const CellOptions<T>* options;  // null: a plain cell, and nothing else here is read
  const T* peephole;              // of all blocks: [block][i, f, o][V]; null: none
  const T* const* kept_h;         // row pointers, Hp elements: not 0 where h keeps its value; null: zoneout_h of it
  const T* const* kept_c;
};

/// The two products of a step on a unit for smaller numbers.
struct LowpStep {
  const ProductUnit* unit;
  int terms;
  LowpFactors x, h;       // `x` is not read if the input part is there already; panels of all blocks
  const char* x_unsplit;  // by row: not 0 where it could not be split, and its product is a plain one
  const char* h_unsplit;
  bool any_unsplit;
};

/// One step of some rows of an LSTM layer, for a range of blocks: gate pre-activations, then the cell.
template <class T>
struct StepForward {
  Index rows;
  Index hidden;   // H
  Index h_depth;  // features of h_prev: H, or P with a projection
  Index block_begin, block_end;
  bool backwards;          // take the blocks in falling order: every other step does, to meet what is still in a cache
  Index x_depth;           // features of x; 0: `gates` already holds bias + input part
  const T* const* x;       // row pointers
  const T* const* h_prev;  // row pointers, h_depth elements
  const T* const* c_prev;  // row pointers, Hp elements
  const T* x_panels;       // of all blocks: [block][x_depth][4][V]
  const T* h_panels;       // of all blocks: [block][H][4][V]
  const T* bias;           // of all blocks: [block][4][V]
  T* const* gates;         // row pointers, [block][4][V] from block_begin on; null: nothing to read or keep
  bool keep_gates;         // leave the activations in `gates`
  T* const* c;             // row pointers, Hp elements; may be c_prev
  T* const* h;             // row pointers, H elements; must not overlap h_prev
  T* const* y;             // a second place for h, or null
  const LowpStep* lowp;    // null: plain products
  CellExtras<T> extras;
  const T* const* h_last;    // row pointers, H elements: h before the step, if zoneout keeps some of it
  const T* const* h_factor;  // row pointers, Hp elements: what the next step sees of h is h times this; or null
  T* const* h_fed;           // row pointers, H elements: h times h_factor, or null

  // Layer norms, whose steps come apart, since each needs all of a row: the products W x and U h', then `norm_gates`,
  // then `norm_output`.
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
  const T* const* dh;      // row pointers, Hp elements: gradient by h from the step after
  T* const* dc;            // row pointers, Hp elements: in by c, out by c_prev
  const T* const* c_prev;  // row pointers, Hp elements
  const T* const* c;
  const T* const* gates;  // activations
  T* const* dgates;       // out: gradients by the pre-activations; may be `gates`
  CellExtras<T> extras;
  T* const* dh_kept;  // row pointers, Hp elements, out: what zoneout passes on to h before the step; or null

  // Layer norms, in three steps: `norm_output_backward`, `norm_gates_backward`, `norm_rows_backward`. A row of dgates
  // then holds the gradients by the pre-activations, by W x and by U h', 4 Hp elements each, by gain times the normed c
  // plus bias, and the normed c, Hp elements each.
  const CellNorms<T>* norms;
  Index blocks;
  const T* const* norm_x;
  const T* const* norm_h;
  const T* const* statistics;
};

/// The gradients by the gains and biases of layer norms, the gates' included, from one row after the other, for some
/// blocks.
template <class T>
struct NormSums {
  Index blocks;  // all of a row
  Index block_begin, block_end;
  Index rows;
  T* const* dgates;  // row pointers, as above
  const T* const* norm_x;
  const T* const* norm_h;
  const T* const* statistics;
  T* bias;    // [block][4][V], of all blocks; null: not wanted
  T* gain_x;  // [block][4][V], of all blocks
  T* gain_h;
  T* gain_c;  // Hp elements
  T* bias_c;
};

/// Row pointers to values and to their tangents, the derivatives along one direction.
template <class T>
struct DualRows {
  T* const* value;
  T* const* tangent;
};

/// The tangents of a step's cell, all blocks: `gates` and c_prev's values are those that the forward kept.
template <class T>
struct TangentForward {
  Index rows;
  Index hidden;
  const T* const* gates;     // activations
  T* const* gates_tangent;   // in: of the pre-activations without peepholes; out: of the activations
  DualRows<const T> c_prev;  // row pointers, Hp elements
  T* const* c_tangent;       // Hp elements
  T* const* h_tangent;       // H elements
  CellExtras<T> extras;      // options are there, though the cell be a plain one
  const T* peephole_tangent;
  const T* const* h_last_tangent;  // H elements: of h before the step, if zoneout keeps some of it

  // Layer norms: the products' tangents come apart from the gates', and leave those of the statistics.
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
  DualRows<T> dc;       // in by c, out by c_prev
  DualRows<T> dgates;   // out: by the pre-activations; with layer norms by W x
  DualRows<T> dh_kept;  // out: what zoneout passes on to h before the step; or null
  CellExtras<T> extras;
  const T* peephole_tangent;
  T* const* bias_sums;      // row pointers, 4 Hp elements: the tangents of dgates are added
  T* const* peephole_sums;  // [block][i, f, o][V]: those of the gradients by the peephole weights are added; or null

  const CellNorms<T>* norms;  // null: none, and nothing below is read
  const CellNorms<T>* norms_tangent;
  DualRows<const T> norm_x;
  DualRows<const T> norm_h;
  DualRows<const T> statistics;
  DualRows<T> dgates_h;  // out: by U h'
  T* scratch;            // 4 Hp elements
  T* const* norm_sums;   // gains of W x and of U h', gain and bias of c: the tangents of their gradients are added
};

/// Everything for one element type.
template <class T>
struct Kernels {
  Index lanes;      // V
  Index tile_rows;  // rows that a full tile of one panel holds
  void (*product)(const Product<T>&);
  void (*transposed_product)(const TransposedProduct<T>&);
  void (*outer_product)(const OuterProduct<T>&);
  /// to[column * to_stride + row] = from[row * from_stride + column].
  void (*transpose)(const T* from, Index from_stride, Index rows, Index columns, T* to, Index to_stride);
  void (*step_forward)(const StepForward<T>&);
  void (*step_backward)(const StepBackward<T>&);
  /// With layer norms, instead of step_forward: the statistics of W x and U h', the gates and c before zoneout; then
  /// the statistics of c, h, and c after zoneout.
  void (*norm_gates)(const StepForward<T>&);
  void (*norm_output)(const StepForward<T>&);
  /// With layer norms, instead of step_backward: the gradients by o and by the normed c; then those by the
  /// pre-activations and by c before the step; then those by W x and U h'.
  void (*norm_output_backward)(const StepBackward<T>&);
  void (*norm_gates_backward)(const StepBackward<T>&);
  void (*norm_rows_backward)(const StepBackward<T>&);
  void (*add_norms)(const NormSums<T>&);
  void (*tangent_forward)(const TangentForward<T>&);
  void (*tangent_backward)(const TangentBackward<T>&);

  // Elementwise work over n elements. Pointers need no alignment.
  void (*sigmoid)(const T* x, T* y, Index n);
  void (*tanh)(const T* x, T* y, Index n);
  void (*relu)(const T* x, T* y, Index n);
  void (*exp)(const T* x, T* y, Index n);
  /// dz = dy * (derivative of the activation, from its result y).
  void (*sigmoid_backward)(const T* y, const T* dy, T* dz, Index n);
  void (*tanh_backward)(const T* y, const T* dy, T* dz, Index n);
  void (*relu_backward)(const T* y, const T* dy, T* dz, Index n);
  void (*softmax)(const T* x, T* y, Index n);   // one row
  void (*add)(const T* x, T* y, Index n);       // y += x
  void (*multiply)(const T* x, T* y, Index n);  // y *= x
  /// One row of a layer normalization: y = (x - mean) * scale * gain + shift with scale = 1 / sqrt(variance + epsilon);
  /// gain and shift may be null. moments: mean, scale.
  void (*normalize)(const T* x, const T* gain, const T* shift, double epsilon, T* y, T* moments, Index n);
  /// dx, unless null; dgain += dy (x - mean) scale; dshift += dy.
  void (*normalize_backward)(const T* x, const T* gain, const T* moments, const T* dy, T* dx, T* dgain, T* dshift,
                             Index n);
  /// sums[block][i, f, o][V] += the gradients of the peephole weights by one row, from its dgates, gates and c_prev.
  void (*add_peephole)(const T* dgates, const T* gates, const T* c_prev, T cell_clip, T* sums, Index blocks);
  void (*scale)(T* x, T factor, Index n);
  void (*clip)(T* x, T limit, Index n);
  /// Philox keep-mask of elements first .. first + n: y = x * factor where kept, else 0.
  void (*dropout)(const T* x, T* y, Index n, std::uint64_t seed, std::uint64_t first, std::uint32_t threshold,
                  T factor);
  void (*sgd)(T* parameter, const T* gradient, T* velocity, Index n, T learning_rate, T momentum, bool nesterov);
  /// decay = 1 - rho; for adam decay1 = 1 - beta1, decay2 = 1 - beta2: small numbers that 1 - T(beta) would get wrong
  /// by 5e-5. correction1 = 1 / (1 - beta1^step), correction2 = 1 / (1 - beta2^step).
  void (*rmsprop)(T* parameter, const T* gradient, T* mean_square, Index n, T learning_rate, T decay, T epsilon);
  void (*adam)(T* parameter, const T* gradient, T* m, T* v, Index n, T learning_rate, T decay1, T decay2, T correction1,
               T correction2, T epsilon, T weight_decay);
  double (*squared_norm)(const T* x, Index n);
};

struct KernelTable {
  Kernels<float> f32;
  Kernels<double> f64;
  LowpKernels lowp;
};

template <class T>
const Kernels<T>& kernels_of(const KernelTable& table);
template <>
inline const Kernels<float>& kernels_of<float>(const KernelTable& table) {
  return table.f32;
}
template <>
inline const Kernels<double>& kernels_of<double>(const KernelTable& table) {
  return table.f64;
}

/// Elements of a packed product factor: whole panels, the last one narrowed to whole vectors.
constexpr Index panel_elements(Index depth, Index columns, Index lanes) {
  return depth * ((columns + lanes - 1) / lanes) * lanes;
}

}  // namespace lstmcore::kernels
