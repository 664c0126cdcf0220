// Single steps whose caller owns all memory: the kernels of a walk, on pointers that are laid out for one step.
#include <atomic>
#include <lstmcore/cell.hpp>

#include "../runtime/interrupt.hpp"
#include "../runtime/isa.hpp"
#include "../runtime/policy.hpp"
#include "../runtime/threads.hpp"
#include "../sequence/caller_rows.hpp"
#include "../sequence/layers.hpp"
#include "../sequence/weight_gradient.hpp"
#include "check.hpp"

namespace lstmcore {
namespace {

/// How threads share a step: by rows if each gets whole tiles, else by blocks of hidden units or panels of a product.
struct StepShares {
  int threads;
  bool by_rows;

  /// A step of `batch` rows with `weights` weights, for which it reads `bytes` bytes.
  StepShares(Index batch, Index weights, std::size_t bytes, Index tile_rows)
      : threads(threads_for(2.0 * static_cast<double>(weights) * rows_of_work(batch, bytes))),
        by_rows(batch >= threads * tile_rows) {}

  Range rows(Index batch, int part) const { return by_rows ? split(batch, threads, part) : Range{0, batch}; }
  Range columns(Index count, int part) const { return by_rows ? Range{0, count} : split(count, threads, part); }

 private:
  /// With few rows, reading weights that do not fit into a core's own cache takes as long as the arithmetic of more
  /// rows. So two threads share even one row: with 128 features and 256 units, it takes 47 instead of 75 microseconds.
  static double rows_of_work(Index batch, std::size_t bytes) {
    const bool waits = static_cast<double>(bytes) > policy::private_cache_bytes / 2 && !crowded();
    return std::max(static_cast<double>(batch), waits ? policy::rows_of_weight_traffic : 1.0);
  }
};

/// Whether a share of watched memory still has its fingerprint.
bool unchanged(const std::vector<WatchedMemory>& watched, int parts, int part, bool falling) {
  const auto same = [&](const WatchedMemory& one) { return one.fingerprint.matches(one.memory, parts, part, falling); };
  return falling ? std::all_of(watched.rbegin(), watched.rend(), same)
                 : std::all_of(watched.begin(), watched.end(), same);
}

std::size_t bytes_of(const std::vector<WatchedMemory>& watched) {
  std::size_t sum = 0;
  for (const WatchedMemory& one : watched) sum += one.fingerprint.bytes();
  return sum;
}

/// Pointers to the rows of a matrix.
template <class T>
void point_to_rows(T* base, Index width, Index batch, T** rows) {
  for (Index row = 0; row < batch; ++row) rows[row] = base + row * width;
}

/// Copies a matrix (N, width), padding its rows with zeros; without a matrix (null), all of `to` is zeros.
template <class T>
void pad_rows(const T* from, Index width, Index padded, Index batch, T* to) {
  for (Index row = 0; row < batch; ++row, to += padded) {
    T* const end = from != nullptr ? std::copy_n(from + row * width, width, to) : to;
    std::fill(end, to + padded, T(0));
  }
}

template <class T>
void unpad_rows(const T* from, Index padded, Index width, Index batch, T* to) {
  for (Index row = 0; row < batch; ++row) std::copy_n(from + row * padded, width, to + row * width);
}

/// Where the matrices of a tape begin; null without a tape.
template <class U>
struct TapeParts {
  U *gates = nullptr, *c_before = nullptr, *c_after = nullptr;
  TapeParts(const CellShape& shape, Index batch, U* tape) {
    if (tape == nullptr) return;
    gates = tape;
    c_before = gates + batch * shape.gates_width();
    c_after = c_before + batch * shape.padded();
  }
};

/// A step of some blocks; its row pointers are not set yet.
template <class T>
kernels::StepForward<T> step_of(const CellShape& shape, const ForwardPanels<T>& weights, Range blocks) {
  kernels::StepForward<T> step{};
  step.hidden = step.h_depth = shape.hidden;
  step.block_begin = blocks.begin;
  step.block_end = blocks.end;
  step.x_depth = shape.input;
  step.x_panels = weights.x.data();
  step.h_panels = weights.h.data();
  step.bias = weights.bias.data();
  return step;
}

/// out = dgates W for some rows and panels.
template <class T>
void multiply_back(const CellShape& shape, const Buffer<T>& panels, Index columns, T* const* dgates, T* const* out,
                   Range rows, Range some) {
  active_kernels<T>().product(product_of<T>(rows.size(), dgates + rows.begin, shape.gates_width(), panels.data(),
                                            columns, out + rows.begin, some));
}

}  // namespace

template <class T>
bool LstmCell<T>::serves(const LstmConfig& config) {
  return config.num_layers == 1 && !config.bidirectional && !config.go_backwards && config.plain_cell() &&
         config.proj_size == 0 && !config.layer_norm && config.input_dropout == 0.0 &&
         config.recurrent_dropout == 0.0 && config.weight_dropout == 0.0;
}

template <class T>
LstmCell<T>::LstmCell(const Lstm<T>& lstm, std::vector<WatchedMemory> watched)
    : lstm_(lstm), watched_(std::move(watched)) {
  require(serves(lstm.config()), "lstm: expected one forward layer with a plain cell, for single steps, got another");
  require(!lstm.impl().arithmetic, "precision: expected \"fp32\" for single steps, got \"",
          precision_name(lstm.precision()), "\"");
}

template <class T>
std::int64_t LstmCell<T>::tape_width() const {
  const CellShape shape = lstm_.impl().shape(0);
  return shape.gates_width() + 2 * shape.padded();
}

template <class T>
std::int64_t LstmCell<T>::gradient_width() const {
  return lstm_.impl().shape(0).gates_width();
}

template <class T>
bool LstmCell<T>::forward(std::int64_t batch, const T* x, const T* h, const T* c, T* h_after, T* c_after, T* tape,
                          bool turn) const {
  const EngineFloats floats;
  const CellShape shape = lstm_.impl().shape(0);
  const ForwardPanels<T>& weights = lstm_.impl().forward[0];
  const kernels::Kernels<T>& kernels = active_kernels<T>();
  const Index hidden = shape.hidden, padded = shape.padded();
  const bool in_place = tape == nullptr && hidden == padded;
  Buffer<T> scratch(in_place || tape != nullptr ? 0 : count(batch * padded));
  const TapeParts<T> parts(shape, batch, tape);
  T* const c_before = tape != nullptr ? parts.c_before : scratch.data();
  T* const c_new = in_place ? c_after : tape != nullptr ? parts.c_after : scratch.data();
  if (!in_place) pad_rows(c, hidden, padded, batch, c_before);

  const T **x_rows, **h_rows, **c_rows;
  T **c_new_rows, **h_new_rows, **gates_rows;  // gates_rows: separate for each part
  const Index weight_count = shape.gates_width() * (shape.input + shape.state);
  // Watched weights are read twice: in place and packed.
  const std::size_t bytes = count(weight_count) * sizeof(T) + bytes_of(watched_);
  const StepShares shares(batch, weight_count, bytes, kernels.tile_rows);
  const PointerArrays pointers([&](auto& layout) {
    layout.take(count(batch), x_rows, h_rows, c_rows, c_new_rows, h_new_rows);
    layout.take(count(batch * shares.threads), gates_rows);
  });
  point_to_rows(x, shape.input, batch, x_rows);
  point_to_rows(h, hidden, batch, h_rows);
  point_to_rows<const T>(in_place ? c : c_before, padded, batch, c_rows);
  point_to_rows(c_new, padded, batch, c_new_rows);
  point_to_rows(h_after, hidden, batch, h_new_rows);
  std::atomic<bool> changed{false};
  const auto compute = [&](int part) {
    const Range rows = shares.rows(batch, part), blocks = shares.columns(shape.blocks(), part);
    if (rows.size() == 0 || blocks.size() == 0) return;
    kernels::StepForward<T> step = step_of(shape, weights, blocks);
    step.rows = rows.size();
    step.x = x_rows + rows.begin;
    step.h_prev = h_rows + rows.begin;
    step.c_prev = c_rows + rows.begin;
    step.c = c_new_rows + rows.begin;
    step.h = h_new_rows + rows.begin;
    step.keep_gates = tape != nullptr;
    step.backwards = turn;
    if (step.keep_gates) {
      T** const own = gates_rows + part * batch;
      point_to_rows(parts.gates + rows.begin * shape.gates_width() + blocks.begin * shape.block_width(),
                    shape.gates_width(), rows.size(), own);
      step.gates = own;
    }
    kernels.step_forward(step);
  };
  // One call reads the original weights, then the packed ones; the next reads all of these from the end.
  parallel(shares.threads, [&](int part) {
    if (turn) compute(part);
    if (!unchanged(watched_, shares.threads, part, turn)) {
      changed = true;
    } else if (!turn) {
      compute(part);
    }
  });
  if (!in_place) unpad_rows(c_new, padded, hidden, batch, c_after);
  return !changed;
}

template <class T>
void LstmCell<T>::backward(std::int64_t batch, const T* tape, const T* dh, const T* dc, T* dgates, T* dx, T* dh_before,
                           T* dc_before) const {
  const EngineFloats floats;
  const CellShape shape = lstm_.impl().shape(0);
  const kernels::Kernels<T>& kernels = active_kernels<T>();
  const Index hidden = shape.hidden, padded = shape.padded(), width = shape.gates_width();
  const TapeParts<const T> parts(shape, batch, tape);
  const bool dh_in_place = dh != nullptr && hidden == padded, dc_in_place = dc_before != nullptr && hidden == padded;
  Buffer<T> own_dh(dh_in_place ? 0 : count(batch * padded)), own_dc(dc_in_place ? 0 : count(batch * padded));
  if (!dh_in_place) pad_rows(dh, hidden, padded, batch, own_dh.data());
  T* const dc_both = dc_in_place ? dc_before : own_dc.data();  // with respect to c after the step, then before it
  pad_rows(dc, hidden, padded, batch, dc_both);

  const T **dh_rows, **c_before_rows, **c_after_rows, **gates_rows;
  T **dc_rows, **dgates_rows, **dx_rows, **dh_before_rows;
  const PointerArrays pointers([&](auto& layout) {
    layout.take(count(batch), dh_rows, c_before_rows, c_after_rows, gates_rows, dc_rows, dgates_rows, dx_rows,
                dh_before_rows);
  });
  point_to_rows<const T>(dh_in_place ? dh : own_dh.data(), padded, batch, dh_rows);
  point_to_rows(parts.c_before, padded, batch, c_before_rows);
  point_to_rows(parts.c_after, padded, batch, c_after_rows);
  point_to_rows(parts.gates, width, batch, gates_rows);
  point_to_rows(dc_both, padded, batch, dc_rows);
  point_to_rows(dgates, width, batch, dgates_rows);
  if (dx != nullptr) point_to_rows(dx, shape.input, batch, dx_rows);
  if (dh_before != nullptr) point_to_rows(dh_before, hidden, batch, dh_before_rows);
  const auto run_cell = [&](Range rows) {
    kernels::StepBackward<T> step{};
    step.rows = rows.size();
    step.hidden = hidden;
    step.block_end = shape.blocks();
    step.dh = dh_rows + rows.begin;
    step.dc = dc_rows + rows.begin;
    step.c_prev = c_before_rows + rows.begin;
    step.c = c_after_rows + rows.begin;
    step.gates = gates_rows + rows.begin;
    step.dgates = dgates_rows + rows.begin;
    kernels.step_backward(step);
  };
  const Index columns = (dx != nullptr ? shape.input : 0) + (dh_before != nullptr ? hidden : 0);
  const StepShares shares(batch, width * columns, count(width * columns) * sizeof(T), kernels.tile_rows);
  if (!shares.by_rows) run_cell({0, batch});
  const std::vector<BackwardPanels<T>>* const weights = columns > 0 ? &lstm_.impl().backward() : nullptr;
  parallel(shares.threads, [&](int part) {
    const Range rows = shares.rows(batch, part);
    if (shares.by_rows) run_cell(rows);
    const auto panels = [&](Index size) {
      return shares.columns((size + shape.block_width() - 1) / shape.block_width(), part);
    };
    if (weights != nullptr && dx != nullptr) {
      multiply_back(shape, (*weights)[0].x, shape.input, dgates_rows, dx_rows, rows, panels(shape.input));
    }
    if (weights != nullptr && dh_before != nullptr) {
      multiply_back(shape, (*weights)[0].h, hidden, dgates_rows, dh_before_rows, rows, panels(hidden));
    }
  });
  if (dc_before != nullptr && !dc_in_place) unpad_rows(dc_both, padded, hidden, batch, dc_before);
}

namespace {

/// Rows of some steps in blocks of whole steps, each block with a sum of its own.
template <class T>
StepRows<T> rows_of(const CellShape& shape, const std::vector<LstmCellStep<T>>& steps) {
  StepRows<T> rows;
  for (const LstmCellStep<T>& step : steps) {
    for (Index row = 0; row < step.batch; ++row) {
      // The sums only read the gradients: single steps have no layer norms, which would change them.
      rows.gates.push_back(const_cast<T*>(step.dgates) + row * shape.gates_width());
      rows.x.push_back(step.x + row * shape.input);
      rows.h_prev.push_back(step.h + row * shape.state);
    }
    const Index begin = rows.blocks.empty() ? 0 : rows.blocks.back().begin;
    const Index end = rows.count + step.batch;
    if (!rows.blocks.empty() && end - begin <= kernels::most_transposed_depth) {
      rows.blocks.back().end = end;
    } else if (step.batch > 0) {
      rows.blocks.push_back({rows.count, end, true, true, rows.blocks.empty()});
    }
    rows.count = end;
  }
  return rows;
}

}  // namespace

template <class T>
void LstmCell<T>::weight_gradients(const std::vector<LstmCellStep<T>>& steps,
                                   const LstmCellWeights<T>& gradients) const {
  const EngineFloats floats;
  const CellShape shape = lstm_.impl().shape(0);
  const StepRows<T> rows = rows_of(shape, steps);
  WeightGradient<T> sum(shape, gradients, T(0), rows.count, rows.blocks.size() > 1);
  if (!sum.wanted()) return;
  const int threads = threads_for(2.0 * static_cast<double>(rows.count * shape.weight_elements()));
  const Index shares = threads == 1 ? 1 : 2 * threads;
  const Index block_parts = std::min(shares, shape.blocks());
  const auto column_parts = static_cast<int>((shares + block_parts - 1) / block_parts);
  const auto blocks_of = [&](Index part) {
    return split(shape.blocks(), static_cast<int>(block_parts), static_cast<int>(part));
  };
  std::vector<Buffer<T>> scratch;
  for (int thread = 0; thread < threads; ++thread) scratch.emplace_back(count(sum.scratch_size(shape)));
  Interruptible* const call = InterruptWatch::of_thread();
  const auto run = [&](int team) {
    return parallel_phases(
        team, 2, [&](Index phase) { return phase == 0 ? block_parts * column_parts : block_parts; },
        [&](Index phase, Index task, int thread) {
          LowpGradient none;
          const Range blocks = blocks_of(task % block_parts);
          if (InterruptWatch::stopped(call)) return;
          if (phase == 1) {
            if (rows.count == 0) sum.clear(blocks);
            sum.finish(blocks);
            sum.write(blocks);
          } else if (rows.count > 0) {
            sum.add(rows, true, blocks, column_parts, static_cast<int>(task / block_parts),
                    scratch[count(thread)].data(), none, InterruptWatch(call));
          }
        });
  };
  if (!run(threads)) run(1);
  InterruptWatch::end_if_stopped();
}

template class LstmCell<float>;
template class LstmCell<double>;

}  // namespace lstmcore
