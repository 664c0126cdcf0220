// Gradients and their tangents back through time.
#include <cmath>

#include "../sequence/weight_gradient.hpp"
#include "dual_walk.hpp"

namespace lstmcore {
namespace {

/// Gradients by the pre-activations, and with a projection those by h, of the rows of a range of steps, by (step, row):
/// of each row the tangents, then the values, as the left factor of a product with stacked panels.
template <class T>
struct RangeGradients {
  const Schedule& schedule;
  Range steps;
  T *gates, *r;
  Index gates_width, r_width;  ///< of a row's tangents or values

  Index index(Index step, Index row) const { return schedule.packed(step, row) - schedule.packed(steps.begin, 0); }
  T* gates_at(Index step, Index row) const { return gates + index(step, row) * 2 * gates_width; }
  T* r_at(Index step, Index row) const { return r + index(step, row) * 2 * r_width; }
};

template <class T>
class TangentBackwardWalk : DualWalk<T> {
 public:
  TangentBackwardWalk(const CellShape& shape, const Schedule& schedule, const DualCell<T>& cell,
                      const BackwardPanels<T>& values, const TangentBackwardPanels<T>& weights,
                      const DualGradients<T>& gradients, T* bias_sums, T* peephole_sums, std::vector<Index> rows)
      : DualWalk<T>(shape, schedule, cell, std::move(rows)),
        values_(values),
        weights_(weights),
        gradients_(gradients),
        bias_sums_(bias_sums),
        peephole_sums_(peephole_sums),
        scratch_(count(4 * size() * shape.padded())),
        dy_(size()),
        dh_(size()),
        dc_(size()),
        dm_(size()),
        dh_kept_(size()),
        dgates_(size()),
        dr_(size()),
        bias_rows_(count(size())),
        peephole_rows_(count(size())) {
    std::fill(scratch_.data(), scratch_.data() + scratch_.size(), T(0));
    T* next = scratch_.data();
    for (Index i = 0; i < size(); ++i) {
      for (std::vector<T*>* pointers : {&dm_.value, &dm_.tangent, &dh_kept_.value, &dh_kept_.tangent}) {
        (*pointers)[count(i)] = next;
        next += shape.padded();
      }
      dh_.set(i, gradients.dh, 0, row(i));
      dc_.set(i, gradients.dc, 0, row(i));
      bias_rows_[count(i)] = bias_sums_ + row(i) * shape.gates_width();
      peephole_rows_[count(i)] = peephole_sums_ + row(i) * 3 * shape.padded();
    }
  }

  /// Walks back over some steps; to be called from the last ones on.
  void run(const RangeGradients<T>& range) {
    for (Index step = std::min(range.steps.end, length(0)) - 1; step >= range.steps.begin; --step) {
      while (length(alive_) > step) ++alive_;
      gather(step, range);
      if (shape_.projected) projection_step();
      cell_step();
      state_step(step);
    }
  }

 private:
  using Base = DualWalk<T>;
  using Base::cell_;
  using Base::kernels_;
  using Base::length;
  using Base::row;
  using Base::schedule_;
  using Base::shape_;
  using Base::size;
  using Base::time;

  void gather(Index step, const RangeGradients<T>& range) {
    for (Index i = 0; i < alive_; ++i) {
      this->gather_cell(i, step);
      dy_.set(i, gradients_.dy, time(i, step), row(i));
      dgates_.tangent[count(i)] = range.gates_at(step, row(i));
      dgates_.value[count(i)] = dgates_.tangent[count(i)] + shape_.gates_width();
      if (!shape_.projected) continue;
      dr_.tangent[count(i)] = range.r_at(step, row(i));
      dr_.value[count(i)] = dr_.tangent[count(i)] + shape_.state;
      h_[count(i)] = cell_.h.value.at(time(i, step), row(i));
    }
  }

  /// The gradient by the left factor of a product from that by its result, and the tangent of it.
  void products(const DualPointers<T>& from, const Buffer<T>& values, const StackedPanels<T>& stacked,
                const DualPointers<T>& to) {
    const Range panels = this->panels_of(stacked.columns);
    kernels_.product(product_of<T>(alive_, from.value.data(), stacked.depth, values.data(), stacked.columns,
                                   to.value.data(), panels));
    kernels_.product(product_of<T>(alive_, from.tangent.data(), 2 * stacked.depth, stacked.panels.data(),
                                   stacked.columns, to.tangent.data(), panels));
  }

  void projection_step() {
    for (Index n = 0; n < alive_; ++n) {
      const std::size_t i = count(n);
      for (Index k = 0; k < shape_.state; ++k) {
        const bool free = !(cell_.proj_clip > 0) || std::abs(h_[i][k]) < cell_.proj_clip;
        dr_.value[i][k] = free ? dh_.value[i][k] + dy_.value[i][k] : T(0);
        dr_.tangent[i][k] = free ? dh_.tangent[i][k] + dy_.tangent[i][k] : T(0);
      }
    }
    products(dr_, values_.projection, weights_.projection, dm_);
  }

  void cell_step() {
    kernels::TangentBackward<T> s{};
    s.rows = alive_;
    s.hidden = shape_.hidden;
    s.gates = this->gates_.readable();
    s.c_prev = this->c_prev_.readable();
    if (!shape_.projected) s.dy = dy_.readable();
    s.dh = shape_.projected ? dm_.readable() : dh_.readable();
    s.dc = dc_.rows();
    s.dgates = dgates_.rows();
    if (keeps()) s.dh_kept = dh_kept_.rows();
    s.extras = this->extras();
    s.peephole_tangent = cell_.peephole_tangent;
    s.bias_sums = bias_rows_.data();
    s.peephole_sums = peephole_rows_.data();
    kernels_.tangent_backward(s);
  }

  bool keeps() const { return cell_.variant.options->zoneout_h > 0; }

  void state_step(Index step) {
    products(dgates_, values_.h, weights_.h, dh_);
    for (Index i = 0; i < alive_; ++i) {
      const bool cut = schedule_.cut(row(i), step, cell_.reversed);
      const auto finish = [&](T* dh, T* dc, const T* kept) {
        if (this->fed()) kernels_.multiply(cell_.variant.h_factor.at(0, row(i)), dh, shape_.state);
        if (keeps()) kernels_.add(kept, dh, shape_.state);
        if (!cut) return;
        std::fill_n(dh, shape_.state, T(0));
        std::fill_n(dc, shape_.padded(), T(0));
      };
      const std::size_t at = count(i);
      finish(dh_.value[at], dc_.value[at], dh_kept_.value[at]);
      finish(dh_.tangent[at], dc_.tangent[at], dh_kept_.tangent[at]);
    }
  }

  const BackwardPanels<T>& values_;
  const TangentBackwardPanels<T>& weights_;
  const DualGradients<T>& gradients_;
  T *const bias_sums_, *const peephole_sums_;
  Index alive_ = 0;
  Buffer<T> scratch_;
  DualPointers<T> dy_, dh_, dc_, dm_, dh_kept_, dgates_, dr_;
  std::vector<T*> bias_rows_, peephole_rows_;
  std::vector<const T*> h_ = std::vector<const T*>(count(size()));
};

/// The backward of one direction of a layer, in phases: some steps are walked, then the products over all their rows
/// follow, while what the walk wrote is in a cache.
template <class T>
class TangentBackward {
 public:
  TangentBackward(const CellShape& shape, const Schedule& schedule, const DualCell<T>& cell,
                  const BackwardPanels<T>& values, const TangentBackwardPanels<T>& weights,
                  const DualGradients<T>& gradients)
      : kernels_(active_kernels<T>()),
        shape_(shape),
        schedule_(schedule),
        cell_(cell),
        values_(values),
        weights_(weights),
        gradients_(gradients),
        threads_(threads_for(2 * walk_work(shape, schedule, {0, schedule.longest}, shape.input + shape.state))),
        bias_sums_(count(schedule.rows * shape.gates_width())),
        peephole_sums_(count(schedule.rows * 3 * shape.padded())),
        sums_(shape, matrices(gradients.weights), T(0)),
        zeros_(count(shape.state), T(0)),
        scratch_(count(threads_)) {
    std::fill(bias_sums_.data(), bias_sums_.data() + bias_sums_.size(), T(0));
    std::fill(peephole_sums_.data(), peephole_sums_.data() + peephole_sums_.size(), T(0));
    const int parts = static_cast<int>(std::min<Index>(threads_, std::max<Index>(1, schedule.rows)));
    walks_.reserve(count(parts));
    for (int part = 0; part < parts; ++part) {
      walks_.emplace_back(shape, schedule, cell, values, weights, gradients, bias_sums_.data(), peephole_sums_.data(),
                          deal_rows(schedule, parts, part));
    }
    for (Buffer<T>& panel : scratch_) panel.resize(count(WeightGradient<T>::scratch_size(shape)));
    cut_steps();
  }

  void run() {
    const auto in_phases = [&](int team) {
      const Index walks = static_cast<Index>(walks_.size());
      return parallel_phases(
          team, 2 * static_cast<Index>(ranges_.size()),
          [&](Index phase) { return phase % 2 == 0 ? walks + 1 : Index{threads_}; },
          [&](Index phase, Index task, int thread) {
            const RangeGradients<T> range = gradients_of(ranges_[count(phase / 2)]);
            if (phase % 2 != 0) {
              products(range.steps, static_cast<int>(task), scratch_[count(thread)].data());
            } else if (task < walks) {
              walks_[count(task)].run(range);
            } else {
              gather(range);
            }
          });
    };
    if (!in_phases(threads_)) in_phases(1);
    write();
  }

 private:
  static constexpr Index least_rows = 384;
  static constexpr Index cached_bytes = 1 << 20;

  /// Ranges of steps from the end, and room for what the largest needs.
  void cut_steps() {
    const Index row_bytes = 2 * (shape_.gates_width() + shape_.input + shape_.state) * Index{sizeof(T)};
    const Index wanted_rows = std::max(least_rows, cached_bytes / row_bytes);
    Index most_rows = 0;
    for (Index end = schedule_.longest; end > 0; end = ranges_.back().begin) {
      Index begin = end - 1;
      while (begin > 0 && schedule_.work(begin - 1, end) <= wanted_rows) --begin;
      ranges_.push_back({begin, end});
      most_rows = std::max(most_rows, schedule_.work(begin, end));
    }
    gates_.resize(count(most_rows * 2 * shape_.gates_width()));
    r_.resize(shape_.projected ? count(most_rows * 2 * shape_.state) : 0);
    const auto rows = count(2 * most_rows);
    rows_.gates.reserve(rows);
    rows_.x.reserve(rows);
    rows_.h_prev.reserve(rows);
    rows_.m.reserve(shape_.projected ? rows : 0);
    rows_.dr.reserve(shape_.projected ? rows : 0);
    dx_.value.reserve(gradients_.dx.value ? count(most_rows) : 0);
    dx_.tangent.reserve(gradients_.dx.tangent ? count(most_rows) : 0);
  }

  RangeGradients<T> gradients_of(Range steps) {
    return {schedule_, steps, gates_.data(), r_.data(), shape_.gates_width(), shape_.state};
  }

  /// Those whose gradients are products; the others' are summed by the cell.
  static LstmCellWeights<T> matrices(LstmCellWeights<T> weights) {
    weights.bias = weights.peephole = {};
    return weights;
  }

  /// The rows of some steps, as the sums take them: first the tangents of the gradients beside the values of what they
  /// were multiplied with, then the other way round.
  void gather(const RangeGradients<T>& range) {
    for (auto* pointers : {&rows_.x, &rows_.h_prev, &rows_.m, &rows_.dr}) pointers->clear();
    for (auto* pointers : {&rows_.gates, &dx_.value, &dx_.tangent}) pointers->clear();
    const bool fed = static_cast<bool>(cell_.variant.h_factor);
    const DualMap<T>&h0 = fed ? cell_.h0_fed : cell_.h0, &h = fed ? cell_.h_fed : cell_.h;
    for (const bool of_values : {false, true}) {
      const auto other = [of_values](const DualMap<T>& map) { return of_values ? map.tangent : map.value; };
      const RowMap<T> x = other(cell_.x), m = other(cell_.m), first = other(h0), later = other(h);
      const RowMap<T>& dx = of_values ? gradients_.dx.value : gradients_.dx.tangent;
      std::vector<T*>& to = of_values ? dx_.value : dx_.tangent;
      for (Index step = range.steps.end - 1; step >= range.steps.begin; --step) {
        for (Index row = 0; row < schedule_.alive[count(step)]; ++row) {
          const Index time = schedule_.time(row, step, cell_.reversed);
          rows_.gates.push_back(range.gates_at(step, row) + (of_values ? shape_.gates_width() : 0));
          rows_.x.push_back(x.at(time, row));
          if (schedule_.cut(row, step, cell_.reversed)) {
            rows_.h_prev.push_back(zeros_.data());
          } else {
            rows_.h_prev.push_back(step == 0 ? first.at(0, row) : later.at(time + (cell_.reversed ? 1 : -1), row));
          }
          if (shape_.projected) {
            rows_.m.push_back(m.at(time, row));
            rows_.dr.push_back(range.r_at(step, row) + (of_values ? shape_.state : 0));
          }
          if (dx) to.push_back(dx.at(time, row));
        }
      }
    }
    rows_.count = static_cast<Index>(rows_.gates.size());
  }

  /// A share of what follows the walk of some steps.
  void products(Range steps, int share, T* scratch) {
    input_gradient(share);
    const Range blocks = split(shape_.blocks(), threads_, share);
    if (!sums_.wanted() || blocks.size() == 0) return;
    sums_.add(rows_, steps.end == schedule_.longest, blocks, 1, 0, scratch);
  }

  /// A share of the rows of dx and its tangent.
  void input_gradient(int share) {
    const Index rows = rows_.count / 2;  // the tangents' gradients are the first half
    const Range some = split(rows, threads_, share);
    const auto multiply = [&](const std::vector<T*>& to, Index first, const T* panels, Index depth) {
      if (to.empty() || some.size() == 0) return;
      const Range all{0, (shape_.input + shape_.block_width() - 1) / shape_.block_width()};
      kernels::Product<T> product = product_of<T>(some.size(), rows_.gates.data() + first + some.begin, depth, panels,
                                                  shape_.input, to.data() + some.begin, all);
      product.accumulate = gradients_.add_dx;
      kernels_.product(product);
    };
    multiply(dx_.tangent, 0, weights_.x.panels.data(), 2 * shape_.gates_width());
    multiply(dx_.value, rows, values_.x.data(), shape_.gates_width());
  }

  void write() {
    const Range blocks{0, shape_.blocks()};
    if (schedule_.total == 0) sums_.clear(blocks);
    sums_.write(blocks);
    const auto finish = [&](const Buffer<T>& sums, Index width, const View<T, 1>& gradient, Index gates) {
      if (!gradient) return;
      std::vector<T> sum(count(width), T(0));
      for (Index row = 0; row < schedule_.rows; ++row) kernels_.add(sums.data() + row * width, sum.data(), width);
      unpack_gradient(shape_, sum.data(), blocks, gradient, gates);
    };
    finish(bias_sums_, shape_.gates_width(), gradients_.weights.bias, 4);
    finish(peephole_sums_, 3 * shape_.padded(), gradients_.weights.peephole, 3);
  }

  const kernels::Kernels<T>& kernels_;
  const CellShape& shape_;
  const Schedule& schedule_;
  const DualCell<T>& cell_;
  const BackwardPanels<T>& values_;
  const TangentBackwardPanels<T>& weights_;
  const DualGradients<T>& gradients_;
  const int threads_;
  Buffer<T> bias_sums_, peephole_sums_;  ///< of each row: [N][4 Hp] and [N][3 Hp]
  WeightGradient<T> sums_;
  const std::vector<T> zeros_;
  std::vector<Buffer<T>> scratch_;  ///< by thread
  std::vector<TangentBackwardWalk<T>> walks_;
  std::vector<Range> ranges_;  ///< of steps, as they are walked
  Buffer<T> gates_, r_;        ///< gradients of one range
  StepRows<T> rows_;           ///< of one range
  DualPointers<T> dx_{0};
};

}  // namespace

template <class T>
void tangent_backward(const CellShape& shape, const Schedule& schedule, const DualCell<T>& cell,
                      const BackwardPanels<T>& values, const TangentBackwardPanels<T>& weights,
                      const DualGradients<T>& gradients) {
  TangentBackward<T>(shape, schedule, cell, values, weights, gradients).run();
}

template void tangent_backward(const CellShape&, const Schedule&, const DualCell<float>&, const BackwardPanels<float>&,
                               const TangentBackwardPanels<float>&, const DualGradients<float>&);
template void tangent_backward(const CellShape&, const Schedule&, const DualCell<double>&,
                               const BackwardPanels<double>&, const TangentBackwardPanels<double>&,
                               const DualGradients<double>&);

}  // namespace lstmcore
