// Gradients and their tangents of one layer and direction, backward through time.
#include <array>

#include "../runtime/policy.hpp"
#include "../sequence/weight_gradient.hpp"
#include "dual_walk.hpp"

namespace lstmcore {
namespace {

/// The gradients of a range of steps, by (step, row): with respect to the pre-activations, or with layer norms with
/// respect to W x, then to U h'; and with a projection, those with respect to its result. Each is stored as its
/// tangent, then its value, which is the left factor of a product with stacked panels.
template <class T>
struct RangeGradients {
  const Schedule& schedule;
  Range steps;
  T *gates, *r;
  Index gates_width, r_width;  ///< elements of a row's tangents, or of its values
  bool normed;

  /// Elements of a row of `gates`.
  static Index row_width(const CellShape& shape) { return (shape.normed ? 4 : 2) * shape.gates_width(); }

  Index index(Index step, Index row) const { return schedule.packed(step, row) - schedule.packed(steps.begin, 0); }
  T* gates_at(Index step, Index row) const { return gates + index(step, row) * (normed ? 4 : 2) * gates_width; }
  /// With respect to U h' (without layer norms the same as `gates_at`), for the gradients of h and of its weights.
  T* h_gates_at(Index step, Index row) const { return gates_at(step, row) + (normed ? 2 * gates_width : 0); }
  T* r_at(Index step, Index row) const { return r + index(step, row) * 2 * r_width; }
};

template <class T>
class TangentBackwardWalk : DualWalk<T> {
 public:
  TangentBackwardWalk(const CellShape& shape, const Schedule& schedule, const DualCell<T>& cell,
                      const BackwardPanels<T>& values, const TangentBackwardPanels<T>& weights,
                      const DualGradients<T>& gradients, T* bias_sums, T* peephole_sums, T* norm_sums,
                      std::vector<Index> rows)
      : DualWalk<T>(shape, schedule, cell, std::move(rows)),
        values_(values),
        weights_(weights),
        gradients_(gradients),
        norm_scratch_(count(shape.normed ? 4 * shape.padded() : 0)),
        dy_(size()),
        dh_(size()),
        dc_(size()),
        dm_(size()),
        dh_passed_(size()),
        dgates_(size()),
        dgates_h_(size()),
        dr_(size()),
        h_last_(size()),
        bias_rows_(count(size())),
        peephole_rows_(count(size())),
        norm_rows_(count(size())) {
    const std::array scratch_rows{&dm_.value, &dm_.tangent, &dh_passed_.value, &dh_passed_.tangent};
    scratch_.resize(scratch_rows.size() * count(size() * shape.padded()));
    std::fill(scratch_.data(), scratch_.data() + scratch_.size(), T(0));
    T* next = scratch_.data();
    for (Index i = 0; i < size(); ++i) {
      for (std::vector<T*>* pointers : scratch_rows) {
        (*pointers)[count(i)] = next;
        next += shape.padded();
      }
      dh_.set(i, gradients.dh, 0, row(i));
      dc_.set(i, gradients.dc, 0, row(i));
      bias_rows_[count(i)] = bias_sums + row(i) * shape.gates_width();
      peephole_rows_[count(i)] = peephole_sums + row(i) * 3 * shape.padded();
      if (shape.normed) norm_rows_[count(i)] = norm_sums + row(i) * norm_width(shape);
    }
  }

  /// Elements of a row's sums for the gains and the bias of layer norms.
  static Index norm_width(const CellShape& shape) { return 2 * shape.gates_width() + 2 * shape.padded(); }

  /// Walks backward over a range of steps. Call it for the last range first.
  void run(const RangeGradients<T>& range, const InterruptWatch& watch) {
    for (Index step = std::min(range.steps.end, length(0)) - 1; step >= range.steps.begin; --step) {
      if (watch.stopped()) return;
      while (length(active_) > step) ++active_;
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
    for (Index i = 0; i < active_; ++i) {
      this->gather_cell(i, step);
      dy_.set(i, gradients_.dy, time(i, step), row(i));
      dgates_.tangent[count(i)] = range.gates_at(step, row(i));
      dgates_.value[count(i)] = dgates_.tangent[count(i)] + shape_.gates_width();
      dgates_h_.tangent[count(i)] = range.h_gates_at(step, row(i));
      dgates_h_.value[count(i)] = dgates_h_.tangent[count(i)] + shape_.gates_width();
      if (!shape_.projected) continue;
      dr_.tangent[count(i)] = range.r_at(step, row(i));
      dr_.value[count(i)] = dr_.tangent[count(i)] + shape_.state;
      h_[count(i)] = cell_.h.value.at(time(i, step), row(i));
      this->set_h_before(h_last_, i, step);
    }
  }

  /// Computes, in dual numbers, the gradient with respect to a product's left factor from the one with respect to its
  /// result.
  void products(const DualPointers<T>& from, const Buffer<T>& values, const StackedPanels<T>& stacked,
                const DualPointers<T>& to) {
    const Range panels = this->panels_of(stacked.columns);
    kernels_.product(product_of<T>(active_, from.value.data(), stacked.depth, values.data(), stacked.columns,
                                   to.value.data(), panels));
    kernels_.product(product_of<T>(active_, from.tangent.data(), 2 * stacked.depth, stacked.panels.data(),
                                   stacked.columns, to.tangent.data(), panels));
  }

  void projection_step() {
    const T rate = cell_.variant.proj_zoneout;
    for (Index n = 0; n < active_; ++n) {
      const std::size_t i = count(n);
      const T* const kept = this->mask_of_h(n);
      const auto take = [&](const T* dh, const T* dy, T* dh_passed, T* dr) {
        for (Index k = 0; k < shape_.state; ++k) {
          T sum = dh[k] + dy[k];
          if (keeps()) sum = fresh_share(sum, kept != nullptr ? kept + k : nullptr, rate, dh_passed[k]);
          dr[k] = inside_bound(h_[i][k], cell_.proj_clip, h_last_.value[i][k], rate) ? sum : T(0);
        }
      };
      take(dh_.value[i], dy_.value[i], dh_passed_.value[i], dr_.value[i]);
      take(dh_.tangent[i], dy_.tangent[i], dh_passed_.tangent[i], dr_.tangent[i]);
    }
    products(dr_, values_.projection, weights_.projection, dm_);
  }

  void cell_step() {
    kernels::TangentBackward<T> s{};
    s.rows = active_;
    s.hidden = shape_.hidden;
    s.gates = this->gates_.readable();
    s.c_prev = this->c_prev_.readable();
    if (!shape_.projected) s.dy = dy_.readable();
    s.dh = shape_.projected ? dm_.readable() : dh_.readable();
    s.dc = dc_.rows();
    s.dgates = dgates_.rows();
    if (keeps() && !shape_.projected) s.dh_passed = dh_passed_.rows();
    s.extras = this->extras();
    s.peephole_tangent = cell_.peephole_tangent;
    s.bias_sums = bias_rows_.data();
    s.peephole_sums = peephole_rows_.data();
    if (shape_.normed) {
      this->set_norms(s);
      s.statistics = this->statistics_.readable();
      s.dgates_h = dgates_h_.rows();
      s.scratch = norm_scratch_.data();
      s.norm_sums = norm_rows_.data();
    }
    kernels_.tangent_backward(s);
  }

  /// Whether zoneout passes a part of the gradient with respect to h on to h before the step.
  bool keeps() const {
    return cell_.variant.options->zoneout_h > 0 || cell_.variant.proj_zoneout > 0 || this->zoneout_.h() != nullptr;
  }

  void state_step(Index step) {
    products(dgates_h_, values_.h, weights_.h, dh_);
    for (Index i = 0; i < active_; ++i) {
      const bool cut = schedule_.cut(row(i), step, cell_.reversed);
      const auto finish = [&](T* dh, T* dc, const T* kept) {
        if (this->masks_h()) kernels_.multiply(cell_.h_factor.at(0, row(i)), dh, shape_.state);
        if (keeps()) kernels_.add(kept, dh, shape_.state);
        if (!cut) return;
        std::fill_n(dh, shape_.state, T(0));
        std::fill_n(dc, shape_.padded(), T(0));
      };
      const std::size_t at = count(i);
      finish(dh_.value[at], dc_.value[at], dh_passed_.value[at]);
      finish(dh_.tangent[at], dc_.tangent[at], dh_passed_.tangent[at]);
    }
  }

  const BackwardPanels<T>& values_;
  const TangentBackwardPanels<T>& weights_;
  const DualGradients<T>& gradients_;
  Index active_ = 0;
  Buffer<T> scratch_, norm_scratch_;
  DualPointers<T> dy_, dh_, dc_, dm_, dh_passed_, dgates_, dgates_h_, dr_, h_last_;
  std::vector<T*> bias_rows_, peephole_rows_, norm_rows_;
  std::vector<const T*> h_ = std::vector<const T*>(count(size()));
};

/// The backward of one direction of a layer, in phases: a range of steps is walked, then the products over all its rows
/// are computed while the results of the walk are still in a cache.
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
        norm_sums_(shape.normed ? count(schedule.rows * TangentBackwardWalk<T>::norm_width(shape)) : 0),
        sums_(without_norms(shape), matrices(gradients.weights, true, !shape.normed), T(0)),
        h_sums_(without_norms(shape), matrices(gradients.weights, false, shape.normed), T(0)),
        zeros_(count(shape.state), T(0)),
        scratch_(count(threads_)) {
    std::fill(bias_sums_.data(), bias_sums_.data() + bias_sums_.size(), T(0));
    std::fill(peephole_sums_.data(), peephole_sums_.data() + peephole_sums_.size(), T(0));
    std::fill(norm_sums_.data(), norm_sums_.data() + norm_sums_.size(), T(0));
    const int parts = static_cast<int>(std::min<Index>(threads_, std::max<Index>(1, schedule.rows)));
    walks_.reserve(count(parts));
    for (int part = 0; part < parts; ++part) {
      walks_.emplace_back(shape, schedule, cell, values, weights, gradients, bias_sums_.data(), peephole_sums_.data(),
                          norm_sums_.data(), deal_rows(schedule, parts, part));
    }
    for (Buffer<T>& panel : scratch_) panel.resize(count(WeightGradient<T>::scratch_size(shape)));
    cut_steps();
  }

  void run() {
    Interruptible* const call = InterruptWatch::of_thread();
    const auto in_phases = [&](int team) {
      const Index walks = static_cast<Index>(walks_.size());
      return parallel_phases(
          team, 2 * static_cast<Index>(ranges_.size()),
          [&](Index phase) { return phase % 2 == 0 ? walks + 1 : Index{threads_}; },
          [&](Index phase, Index task, int thread) {
            if (InterruptWatch::stopped(call)) return;
            const RangeGradients<T> range = gradients_of(ranges_[count(phase / 2)]);
            if (phase % 2 != 0) {
              products(range.steps, static_cast<int>(task), scratch_[count(thread)].data());
            } else if (task < walks) {
              walks_[count(task)].run(range, InterruptWatch(call));
            } else {
              gather(range);
            }
          });
    };
    if (!in_phases(threads_)) in_phases(1);
    InterruptWatch::end_if_stopped();
    write();
  }

 private:
  /// Cuts the steps into ranges, from the end, and allocates what the largest needs.
  void cut_steps() {
    const Index row_bytes =
        (RangeGradients<T>::row_width(shape_) + 2 * (shape_.input + shape_.state)) * Index{sizeof(T)};
    const Index wanted_rows = std::max(policy::least_range_rows, policy::range_bytes / row_bytes);
    Index most_rows = 0;
    for (Index end = schedule_.longest; end > 0; end = ranges_.back().begin) {
      Index begin = end - 1;
      while (begin > 0 && schedule_.work(begin - 1, end) <= wanted_rows) --begin;
      ranges_.push_back({begin, end});
      most_rows = std::max(most_rows, schedule_.work(begin, end));
    }
    gates_.resize(count(most_rows * RangeGradients<T>::row_width(shape_)));
    r_.resize(shape_.projected ? count(most_rows * 2 * shape_.state) : 0);
    const auto rows = count(2 * most_rows);
    rows_.gates.reserve(rows);
    rows_.x.reserve(rows);
    rows_.h_prev.reserve(rows);
    h_rows_.gates.reserve(shape_.normed ? rows : 0);
    rows_.m.reserve(shape_.projected ? rows : 0);
    rows_.dr.reserve(shape_.projected ? rows : 0);
    dx_.value.reserve(gradients_.dx.value ? count(most_rows) : 0);
    dx_.tangent.reserve(gradients_.dx.tangent ? count(most_rows) : 0);
  }

  RangeGradients<T> gradients_of(Range steps) {
    return {schedule_, steps, gates_.data(), r_.data(), shape_.gates_width(), shape_.state, shape_.normed};
  }

  /// The matrices, whose gradients are products; the kernels of the cell sum the others. With layer norms, W x and U h'
  /// have different gradients, so that weight_ih and weight_hh are summed separately.
  static LstmCellWeights<T> matrices(const LstmCellWeights<T>& weights, bool of_x, bool of_h) {
    return {of_x ? weights.weight_ih : View<T, 2>(),
            of_h ? weights.weight_hh : View<T, 2>(),
            {},
            {},
            of_x ? weights.weight_hr : View<T, 2>()};
  }
  static CellShape without_norms(CellShape shape) {
    shape.normed = false;
    return shape;
  }

  /// The rows of a range of steps for the weight gradients dW' = dz'^T x + dz^T x': first the tangents of the gradients
  /// with the values of x and h, then the values with the tangents.
  void gather(const RangeGradients<T>& range) {
    for (auto* pointers : {&rows_.x, &rows_.h_prev, &rows_.m, &rows_.dr}) pointers->clear();
    h_rows_.gates.clear();
    h_rows_.h_prev.clear();
    for (auto* pointers : {&rows_.gates, &dx_.value, &dx_.tangent}) pointers->clear();
    const bool masked = static_cast<bool>(cell_.h_factor);
    const DualMap<T>&h0 = masked ? cell_.h0_masked : cell_.h0, &h = masked ? cell_.h_masked : cell_.h;
    for (const bool of_values : {false, true}) {
      const auto other = [of_values](const DualMap<T>& map) { return of_values ? map.tangent : map.value; };
      const RowMap<T> x = other(cell_.x), m = other(cell_.m), first = other(h0), later = other(h);
      const RowMap<T>& dx = of_values ? gradients_.dx.value : gradients_.dx.tangent;
      std::vector<T*>& to = of_values ? dx_.value : dx_.tangent;
      for (Index step = range.steps.end - 1; step >= range.steps.begin; --step) {
        for (Index row = 0; row < schedule_.active[count(step)]; ++row) {
          const Index time = schedule_.time(row, step, cell_.reversed);
          rows_.gates.push_back(range.gates_at(step, row) + (of_values ? shape_.gates_width() : 0));
          rows_.x.push_back(x.at(time, row));
          if (shape_.normed) {
            h_rows_.gates.push_back(range.h_gates_at(step, row) + (of_values ? shape_.gates_width() : 0));
          }
          if (schedule_.cut(row, step, cell_.reversed)) {
            rows_.h_prev.push_back(zeros_.data());
          } else {
            const Index before = masked ? step - 1 : schedule_.time(row, step - 1, cell_.reversed);
            rows_.h_prev.push_back(step == 0 ? first.at(0, row) : later.at(before, row));
          }
          if (shape_.projected) {
            rows_.m.push_back(m.at(step, row));
            rows_.dr.push_back(range.r_at(step, row) + (of_values ? shape_.state : 0));
          }
          if (dx) to.push_back(dx.at(time, row));
        }
      }
    }
    rows_.count = static_cast<Index>(rows_.gates.size());
    h_rows_.count = static_cast<Index>(h_rows_.gates.size());
    const bool first = range.steps.end == schedule_.longest;
    for (StepRows<T>* rows : {&rows_, &h_rows_}) rows->blocks = {{0, rows->count, first, false, true}};
    if (shape_.normed) h_rows_.h_prev = rows_.h_prev;
  }

  /// One thread's share of the products of a range of steps.
  void products(Range steps, int share, T* scratch) {
    input_gradient(share);
    const Range blocks = split(shape_.blocks(), threads_, share);
    if (blocks.size() == 0) return;
    const bool first = steps.end == schedule_.longest;
    if (sums_.wanted()) sums_.add(rows_, first, blocks, 1, 0, scratch, no_lowp_);
    if (h_sums_.wanted()) h_sums_.add(h_rows_, first, blocks, 1, 0, scratch, no_lowp_);
  }

  /// One thread's share of the rows of dx and its tangent.
  void input_gradient(int share) {
    const Index rows = rows_.count / 2;  // the first half are the tangents
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
    for (WeightGradient<T>* sums : {&sums_, &h_sums_}) {
      if (schedule_.total == 0) sums->clear(blocks);
      sums->write(blocks);
    }
    const auto finish = [&](const Buffer<T>& sums, Index width, Index first, const View<T, 1>& gradient, Index gates) {
      if (!gradient) return;
      std::vector<T> sum(count(gates * shape_.padded()), T(0));
      for (Index row = 0; row < schedule_.rows; ++row) {
        kernels_.add(sums.data() + row * width + first, sum.data(), gates * shape_.padded());
      }
      unpack_gradient(shape_, sum.data(), blocks, gradient, gates);
    };
    const LstmCellWeights<T>& weights = gradients_.weights;
    const Index gates = shape_.gates_width(), norms = TangentBackwardWalk<T>::norm_width(shape_);
    finish(bias_sums_, gates, 0, weights.bias, 4);
    finish(peephole_sums_, 3 * shape_.padded(), 0, weights.peephole, 3);
    finish(norm_sums_, norms, 0, weights.gain_ih, 4);
    finish(norm_sums_, norms, gates, weights.gain_hh, 4);
    finish(norm_sums_, norms, 2 * gates, weights.gain_c, 1);
    finish(norm_sums_, norms, 2 * gates + shape_.padded(), weights.bias_c, 1);
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
  Buffer<T> norm_sums_;                  ///< of each row, with layer norms: gains of W x and U h', gain and bias of c
  LowpGradient no_lowp_;
  WeightGradient<T> sums_, h_sums_;  ///< h_sums_: of weight_hh, with layer norms
  const std::vector<T> zeros_;
  std::vector<Buffer<T>> scratch_;  ///< by thread
  std::vector<TangentBackwardWalk<T>> walks_;
  std::vector<Range> ranges_;  ///< of steps, in the order of the walk
  Buffer<T> gates_, r_;        ///< gradients of one range
  StepRows<T> rows_, h_rows_;  ///< of one range; h_rows_: of h_sums_
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
