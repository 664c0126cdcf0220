#include <algorithm>
#include <limits>
#include <lstmcore/ops.hpp>
#include <vector>

#include "../api/check.hpp"
#include "../packing/pack.hpp"
#include "../runtime/buffer.hpp"
#include "../runtime/isa.hpp"
#include "activate.hpp"
#include "elements.hpp"
#include "sequences.hpp"

namespace lstmcore {
namespace {

/// Rows of a contiguous matrix.
template <class T>
struct Rows {
  T* data;
  Index count;
  Index width;
  Index stride;

  T* row(Index index) const { return data + index * stride; }
};

/// Small products for one sequence, on the caller's thread. Every element is one running sum in rising order, so that
/// its bits depend on neither the padding nor the number of queries. Once the call is to end, results are unspecified.
template <class T>
class SmallProducts {
 public:
  explicit SmallProducts(const InterruptWatch& watch) : watch_(watch) {}

  /// out[r][m] = a[r] . b[m].
  void dots(const Rows<const T>& a, const Rows<const T>& b, const Rows<T>& out) {
    if (a.count == 1) {
      // Packing all of b for one row of a costs more than the vector lanes that stay empty with b as the left factor.
      // The sums, and so the bits, are the same.
      pack(1, a.width, a.data, Index{1}, a.stride);
      take_left(b);
      take_out(out.data, b.count, Index{1});
      run(b.count, a.width, 1);
      return;
    }
    pack(b.count, a.width, b.data, Index{1}, b.stride);
    take_left(a);
    take_out(out.data, a.count, out.stride);
    run(a.count, a.width, b.count);
  }

  /// out[r] = sum over m of a[r][m] b[m]; a has a column for each row of b.
  void mix(const Rows<const T>& a, const Rows<const T>& b, const Rows<T>& out) {
    pack(b.width, b.count, b.data, b.stride, Index{1});
    take_left(a);
    take_out(out.data, a.count, out.stride);
    run(a.count, b.count, b.width);
  }

  /// out[m] = sum over r of a[r][m] b[r]; b has as many rows as a.
  void mix_transposed(const Rows<const T>& a, const Rows<const T>& b, const Rows<T>& out) {
    for (Index begin = 0; begin < a.count && !watch_.stopped(); begin += kernels::most_transposed_depth) {
      kernels::TransposedProduct<T> product{};
      product.depth = std::min(kernels::most_transposed_depth, a.count - begin);
      pack(b.width, product.depth, b.row(begin), b.stride, Index{1});
      take_left({a.row(begin), product.depth, a.width, a.stride});
      product.row_end = a.width;
      product.columns = b.width;
      product.a = left_.data();
      product.panels = panels_.data();
      product.out = out.data;
      product.out_stride = out.stride;
      product.accumulate = begin > 0;
      product.panel_end = panel_count(b.width);
      kernels_.transposed_product(product);
    }
  }

 private:
  Index panel_count(Index columns) const {
    const Index full = kernels::panel_vectors * kernels_.lanes;
    return (columns + full - 1) / full;
  }

  /// Element (k, column) at b[k * k_stride + column * column_stride].
  void pack(Index columns, Index depth, const T* b, Index k_stride, Index column_stride) {
    panels_.resize(static_cast<std::size_t>(kernels_.layout().elements(depth, columns)));
    if (column_stride == 1) {  // as a constant, so that the compiler vectorizes the copy
      pack_panels(b, k_stride, Index{1}, depth, columns, kernels_.layout(), panels_.data());
    } else {
      pack_panels(b, k_stride, column_stride, depth, columns, kernels_.layout(), panels_.data());
    }
  }

  void take_left(const Rows<const T>& rows) {
    left_.resize(static_cast<std::size_t>(rows.count));
    for (Index r = 0; r < rows.count; ++r) left_[static_cast<std::size_t>(r)] = rows.row(r);
  }

  void take_out(T* out, Index count, Index stride) {
    out_.resize(static_cast<std::size_t>(count));
    for (Index r = 0; r < count; ++r) out_[static_cast<std::size_t>(r)] = out + r * stride;
  }

  void run(Index rows, Index depth, Index columns) {
    kernels::Product<T> product{};
    product.depth = depth;
    product.columns = columns;
    product.panels = panels_.data();
    product.panel_end = panel_count(columns);
    const double row_cost = 2.0 * static_cast<double>(depth) * static_cast<double>(columns);
    ops::in_pieces(watch_, {0, rows}, row_cost, kernels_.tile_rows, [&](Index first, Index count) {
      product.rows = count;
      product.a = left_.data() + first;
      product.out = out_.data() + first;
      kernels_.product(product);
    });
  }

  const InterruptWatch& watch_;
  const kernels::Kernels<T>& kernels_ = active_kernels<T>();
  Buffer<T> panels_;
  std::vector<const T*> left_;
  std::vector<T*> out_;
};

/// The arguments and sizes that forward and backward share.
template <class T>
struct Problem {
  View<const T, 3> keys, queries, values;
  View<const T, 1> v;
  T scale;
  View<const std::int64_t, 1> lengths, query_lengths;

  Index rows() const { return keys.shape[0]; }
  Index steps() const { return keys.shape[1]; }
  Index units() const { return keys.shape[2]; }
  Index query_count() const { return queries.shape[1]; }
  Index columns() const { return values.shape[2]; }

  Index length(Index n) const { return ops::length_of(lengths, n, steps()); }
  /// Valid queries of a sequence that has keys to attend to.
  Index valid_queries(Index n) const { return length(n) > 0 ? ops::length_of(query_lengths, n, query_count()) : 0; }

  Rows<const T> key_rows(Index n) const { return {keys.data + n * steps() * units(), length(n), units(), units()}; }
  Rows<const T> query_rows(Index n) const {
    return {queries.data + n * query_count() * units(), valid_queries(n), units(), units()};
  }
  Rows<const T> value_rows(Index n) const {
    return {values.data + n * steps() * columns(), length(n), columns(), columns()};
  }

  /// Estimated floating-point operations of one sequence's forward.
  double cost() const {
    const double pairs = static_cast<double>(steps()) * static_cast<double>(query_count());
    const double score = v ? policy::cost::activated : 2.0;
    const double softmax = policy::cost::activated;
    const double each = score * static_cast<double>(units()) + 2.0 * static_cast<double>(columns()) + softmax;
    return pairs * each;
  }
  /// The part of it that is the softmax of one query's scores.
  double softmax_cost() const { return policy::cost::activated * static_cast<double>(steps()); }
};

/// Steps whose tanh(key + query) is computed together, so that it stays in the first-level cache.
constexpr Index block_steps = 32;

/// out = tanh(keys[t] + query), of which v makes a score, for `count` steps from `first` on.
template <class T>
void score_features(const Rows<const T>& keys, Index first, Index count, const T* query, T* out) {
  const auto& kernels = active_kernels<T>();
  for (Index t = 0; t < count; ++t) {
    std::copy_n(keys.row(first + t), keys.width, out + t * keys.width);
    kernels.add(query, out + t * keys.width, keys.width);
  }
  kernels.tanh(out, out, count * keys.width);
}

/// Forward of one sequence after another; one object per thread.
template <class T>
class RowForward {
 public:
  RowForward(const Problem<T>& problem, const View<T, 3>& weights, const View<T, 3>& context,
             const InterruptWatch& watch)
      : watch_(watch), problem_(problem), weights_(weights), context_(context) {
    if (problem.v) features_.resize(static_cast<std::size_t>(block_steps * problem.units()));
  }

  void run(Index n) {
    const Index steps = problem_.steps(), query_count = problem_.query_count(), columns = problem_.columns();
    const Index length = problem_.length(n), count = problem_.valid_queries(n);
    T* const weights = weights_.data + n * query_count * steps;
    T* const context = context_.data + n * query_count * columns;
    for (Index s = 0; s < count; ++s) std::fill(weights + s * steps + length, weights + (s + 1) * steps, T(0));
    std::fill(weights + count * steps, weights + query_count * steps, T(0));
    std::fill(context + count * columns, context + query_count * columns, T(0));
    if (count == 0) return;
    const Rows<T> scores{weights, count, length, steps};
    if (problem_.v) {
      add_scores(n, scores);
    } else {
      products_.dots(problem_.query_rows(n), problem_.key_rows(n), scores);
    }
    ops::in_pieces(watch_, {0, count}, problem_.softmax_cost(), 1, [&](Index first, Index some) {
      for (Index s = first; s < first + some; ++s) {
        if (problem_.scale != T(1)) kernels_.scale(scores.row(s), problem_.scale, length);
        kernels_.softmax(scores.row(s), scores.row(s), length);
      }
    });
    products_.mix({weights, count, length, steps}, problem_.value_rows(n), {context, count, columns, columns});
  }

 private:
  void add_scores(Index n, const Rows<T>& scores) {
    const Rows<const T> keys = problem_.key_rows(n), queries = problem_.query_rows(n);
    const Index units = problem_.units();
    for (Index s = 0; s < queries.count && !watch_.stopped(); ++s) {
      for (Index first = 0; first < keys.count; first += block_steps) {
        const Index count = std::min(block_steps, keys.count - first);
        score_features(keys, first, count, queries.row(s), features_.data());
        products_.dots({problem_.v.data, 1, units, units}, {features_.data(), count, units, units},
                       {scores.row(s) + first, 1, count, count});
      }
    }
  }

  const kernels::Kernels<T>& kernels_ = active_kernels<T>();
  const InterruptWatch& watch_;
  const Problem<T>& problem_;
  View<T, 3> weights_, context_;
  SmallProducts<T> products_{watch_};
  Buffer<T> features_;
};

/// The gradients with respect to the results, and arrays for those with respect to the arguments.
template <class T>
struct Gradients {
  View<const T, 3> weights, context;
  View<T, 3> keys, queries, values;
  T* v;  // (N, U): one row per sequence, to be added up in order
};

/// Backward of one sequence after another; one object per thread.
template <class T>
class RowBackward {
 public:
  RowBackward(const Problem<T>& problem, const Gradients<T>& gradients, const InterruptWatch& watch)
      : watch_(watch),
        problem_(problem),
        gradients_(gradients),
        scores_(static_cast<std::size_t>(problem.query_count() * problem.steps())) {
    if (problem.v) {
      features_.resize(static_cast<std::size_t>(block_steps * problem.units()));
      slope_.resize(static_cast<std::size_t>(problem.units()));
    }
  }

  void run(Index n) {
    const Index steps = problem_.steps(), query_count = problem_.query_count(), units = problem_.units();
    const Index columns = problem_.columns(), length = problem_.length(n), count = problem_.valid_queries(n);
    T* const dvalues = gradients_.values.data + n * steps * columns;
    T* const dkeys = gradients_.keys.data + n * steps * units;
    T* const dqueries = gradients_.queries.data + n * query_count * units;
    T* const dv = problem_.v ? gradients_.v + n * units : nullptr;
    const Index seen = count > 0 ? length : 0;
    std::fill(dvalues + seen * columns, dvalues + steps * columns, T(0));
    std::fill(dkeys + seen * units, dkeys + steps * units, T(0));
    std::fill(dqueries + count * units, dqueries + query_count * units, T(0));
    if (problem_.v) std::fill_n(dv, units, T(0));
    if (count == 0) return;
    const Rows<const T> weights{gradients_.weights.data + n * query_count * steps, count, length, steps};
    const Rows<const T> dcontext{gradients_.context.data + n * query_count * columns, count, columns, columns};
    const Rows<T> dscores{scores_.data(), count, length, length};
    products_.mix_transposed(weights, dcontext, {dvalues, length, columns, columns});
    products_.dots(dcontext, problem_.value_rows(n), dscores);
    ops::in_pieces(watch_, {0, count}, problem_.softmax_cost(), 1, [&](Index first, Index some) {
      for (Index s = first; s < first + some; ++s) {
        ops::softmax_backward(weights.row(s), dscores.row(s), dscores.row(s), length);
        if (problem_.scale != T(1)) kernels_.scale(dscores.row(s), problem_.scale, length);
      }
    });
    if (problem_.v) {
      add_additive(n, dscores, dkeys, dqueries, dv);
      return;
    }
    const Rows<const T> slopes{dscores.data, count, length, length};
    products_.mix(slopes, problem_.key_rows(n), {dqueries, count, units, units});
    products_.mix_transposed(slopes, problem_.query_rows(n), {dkeys, length, units, units});
  }

 private:
  void add_additive(Index n, const Rows<T>& dscores, T* dkeys, T* dqueries, T* dv) {
    const Rows<const T> keys = problem_.key_rows(n), queries = problem_.query_rows(n);
    const Index units = problem_.units();
    std::fill_n(dkeys, keys.count * units, T(0));
    std::fill_n(dqueries, queries.count * units, T(0));
    for (Index s = 0; s < queries.count && !watch_.stopped(); ++s) {
      for (Index first = 0; first < keys.count; first += block_steps) {
        const Index count = std::min(block_steps, keys.count - first);
        score_features(keys, first, count, queries.row(s), features_.data());
        for (Index t = 0; t < count; ++t) {
          const T slope = dscores.row(s)[first + t];
          T* const features = features_.data() + t * units;
          std::copy_n(problem_.v.data, units, slope_.data());
          kernels_.scale(slope_.data(), slope, units);
          kernels_.tanh_backward(features, slope_.data(), slope_.data(), units);
          kernels_.add(slope_.data(), dkeys + (first + t) * units, units);
          kernels_.add(slope_.data(), dqueries + s * units, units);
          kernels_.scale(features, slope, units);
          kernels_.add(features, dv, units);
        }
      }
    }
  }

  const kernels::Kernels<T>& kernels_ = active_kernels<T>();
  const InterruptWatch& watch_;
  const Problem<T>& problem_;
  Gradients<T> gradients_;
  SmallProducts<T> products_{watch_};
  Buffer<T> scores_, features_, slope_;
};

template <class T>
Problem<T> checked_problem(const View<const T, 3>& keys, const View<const T, 3>& queries,
                           const View<const T, 3>& values, const View<const T, 1>& v, double scale,
                           const View<const std::int64_t, 1>& lengths,
                           const View<const std::int64_t, 1>& query_lengths) {
  require_contiguous("keys", keys);
  require_contiguous("queries", queries);
  require_contiguous("values", values);
  const Index rows = keys.shape[0], steps = keys.shape[1], units = keys.shape[2];
  require(units >= 1, "keys: expected at least one unit, got shape ", shape_text(keys));
  require(values.shape[2] >= 1, "values: expected at least one feature, got shape ", shape_text(values));
  require_array("queries", queries, {rows, queries.shape[1], units});
  require_array("values", values, {rows, steps, values.shape[2]});
  require_array_or_none("v", v, {units});
  require(scale > 0 && scale < std::numeric_limits<double>::infinity(), "scale: expected a positive number, got ",
          scale);
  ops::check_lengths("lengths", lengths, rows, steps);
  ops::check_lengths("query_lengths", query_lengths, rows, queries.shape[1]);
  return {keys, queries, values, v, static_cast<T>(scale), lengths, query_lengths};
}

}  // namespace

template <class T>
void attention_forward(View<const T, 3> keys, View<const T, 3> queries, View<const T, 3> values, View<const T, 1> v,
                       double scale, View<const std::int64_t, 1> lengths, View<const std::int64_t, 1> query_lengths,
                       View<T, 3> weights, View<T, 3> context) {
  const EngineFloats floats;
  const Problem<T> problem = checked_problem(keys, queries, values, v, scale, lengths, query_lengths);
  require_array("weights", weights, {problem.rows(), problem.query_count(), problem.steps()});
  require_array("context", context, {problem.rows(), problem.query_count(), problem.columns()});
  ops::parallel_shares(problem.rows(), problem.cost(), 1, [&](Range rows, const InterruptWatch& watch) {
    RowForward<T> row(problem, weights, context, watch);
    for (Index n = rows.begin; n < rows.end && !watch.stopped(); ++n) row.run(n);
  });
}

template <class T>
void attention_backward(View<const T, 3> keys, View<const T, 3> queries, View<const T, 3> values, View<const T, 1> v,
                        double scale, View<const std::int64_t, 1> lengths, View<const std::int64_t, 1> query_lengths,
                        View<const T, 3> weights, View<const T, 3> dcontext, View<T, 3> dkeys, View<T, 3> dqueries,
                        View<T, 3> dvalues, View<T, 1> dv) {
  const EngineFloats floats;
  const Problem<T> problem = checked_problem(keys, queries, values, v, scale, lengths, query_lengths);
  const Index rows = problem.rows(), units = problem.units();
  require_array("weights", weights, {rows, problem.query_count(), problem.steps()});
  require_array("dcontext", dcontext, {rows, problem.query_count(), problem.columns()});
  require_array("dkeys", dkeys, keys.shape);
  require_array("dqueries", dqueries, queries.shape);
  require_array("dvalues", dvalues, values.shape);
  require(static_cast<bool>(dv) == static_cast<bool>(v), "dv: expected an array if and only if v is one");
  require_array_or_none("dv", dv, {units});
  Buffer<T> parts(static_cast<std::size_t>(v ? rows * units : 0));
  const Gradients<T> gradients{weights, dcontext, dkeys, dqueries, dvalues, parts.data()};
  const double cost = policy::cost::attention_backward * problem.cost();
  ops::parallel_shares(rows, cost, 1, [&](Range share, const InterruptWatch& watch) {
    RowBackward<T> row(problem, gradients, watch);
    for (Index n = share.begin; n < share.end && !watch.stopped(); ++n) row.run(n);
  });
  if (!v) return;
  std::fill_n(dv.data, units, T(0));
  for (Index n = 0; n < rows; ++n) active_kernels<T>().add(parts.data() + n * units, dv.data, units);
}

template void attention_forward<float>(View<const float, 3>, View<const float, 3>, View<const float, 3>,
                                       View<const float, 1>, double, View<const std::int64_t, 1>,
                                       View<const std::int64_t, 1>, View<float, 3>, View<float, 3>);
template void attention_forward<double>(View<const double, 3>, View<const double, 3>, View<const double, 3>,
                                        View<const double, 1>, double, View<const std::int64_t, 1>,
                                        View<const std::int64_t, 1>, View<double, 3>, View<double, 3>);
template void attention_backward<float>(View<const float, 3>, View<const float, 3>, View<const float, 3>,
                                        View<const float, 1>, double, View<const std::int64_t, 1>,
                                        View<const std::int64_t, 1>, View<const float, 3>, View<const float, 3>,
                                        View<float, 3>, View<float, 3>, View<float, 3>, View<float, 1>);
template void attention_backward<double>(View<const double, 3>, View<const double, 3>, View<const double, 3>,
                                         View<const double, 1>, double, View<const std::int64_t, 1>,
                                         View<const std::int64_t, 1>, View<const double, 3>, View<const double, 3>,
                                         View<double, 3>, View<double, 3>, View<double, 3>, View<double, 1>);

}  // namespace lstmcore
