#include <algorithm>
#include <lstmcore/ops.hpp>

#include "../api/check.hpp"
#include "../runtime/isa.hpp"
#include "elements.hpp"

namespace lstmcore {
namespace {

void check_ids(const View<const std::int64_t, 1>& ids, std::int64_t vocabulary) {
  for (std::int64_t m = 0; m < ids.shape[0]; ++m) {
    if (ids.data[m] < 0 || ids.data[m] >= vocabulary) {
      fail("ids: expected values from 0 to ", vocabulary - 1, " (the rows of the table), got ", ids.data[m],
           " at position ", m);
    }
  }
}

/// One thread's part of dtable: some rows and some columns.
template <class T>
void sum_gradients(const View<const std::int64_t, 1>& ids, const View<const T, 2>& dy, const View<T, 2>& dtable,
                   Range rows, Range columns, const InterruptWatch& watch) {
  const auto add = active_kernels<T>().add;
  const std::int64_t width = dtable.shape[1];
  const double row_cost = policy::cost::visited * static_cast<double>(columns.size());
  ops::in_pieces(watch, rows, row_cost, 1, [&](std::int64_t first, std::int64_t count) {
    for (std::int64_t v = first; v < first + count; ++v) {
      std::fill_n(dtable.data + v * width + columns.begin, columns.size(), T(0));
    }
  });
  ops::in_pieces(watch, {0, ids.shape[0]}, row_cost, 1, [&](std::int64_t first, std::int64_t count) {
    for (std::int64_t m = first; m < first + count; ++m) {
      const std::int64_t v = ids.data[m];
      if (v < rows.begin || v >= rows.end) continue;
      add(dy.data + m * width + columns.begin, dtable.data + v * width + columns.begin, columns.size());
    }
  });
}

}  // namespace

template <class T>
void embedding_forward(View<const T, 2> table, View<const std::int64_t, 1> ids, View<T, 2> y) {
  const EngineFloats floats;
  require_contiguous("table", table);
  require_contiguous("ids", ids);
  const std::int64_t width = table.shape[1];
  require_array("y", y, {ids.shape[0], width});
  check_ids(ids, table.shape[0]);
  ops::parallel_ranges(ids.shape[0], policy::cost::visited * static_cast<double>(width), 1,
                       [&](std::int64_t begin, std::int64_t count) {
                         for (std::int64_t m = begin; m < begin + count; ++m) {
                           std::copy_n(table.data + ids.data[m] * width, width, y.data + m * width);
                         }
                       });
}

template <class T>
void embedding_backward(View<const std::int64_t, 1> ids, View<const T, 2> dy, View<T, 2> dtable) {
  const EngineFloats floats;
  require_contiguous("ids", ids);
  require_contiguous("dtable", dtable);
  const std::int64_t vocabulary = dtable.shape[0], width = dtable.shape[1];
  require_array("dy", dy, {ids.shape[0], width});
  check_ids(ids, vocabulary);
  if (width == 0) return;
  // Threads share the columns first: a few very frequent ids (padding, common words) would make ranges of rows uneven.
  const int threads =
      threads_for(policy::cost::visited * static_cast<double>(width) * static_cast<double>(ids.shape[0] + vocabulary));
  const std::int64_t lines = (width + ops::line_elements<T> - 1) / ops::line_elements<T>;
  const int groups = static_cast<int>(std::min<std::int64_t>(threads, lines));
  const int bands = threads / groups;
  ops::parallel_watched(groups * bands, [&](int part, const InterruptWatch& watch) {
    sum_gradients(ids, dy, dtable, split(vocabulary, bands, part / groups),
                  split(width, groups, part % groups, ops::line_elements<T>), watch);
  });
}

template void embedding_forward<float>(View<const float, 2>, View<const std::int64_t, 1>, View<float, 2>);
template void embedding_forward<double>(View<const double, 2>, View<const std::int64_t, 1>, View<double, 2>);
template void embedding_backward<float>(View<const std::int64_t, 1>, View<const float, 2>, View<float, 2>);
template void embedding_backward<double>(View<const std::int64_t, 1>, View<const double, 2>, View<double, 2>);

}  // namespace lstmcore
