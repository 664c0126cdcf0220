#include "../runtime/policy.hpp"
#include "dropout_mask.hpp"
#include "layers.hpp"

namespace lstmcore {

template <class T>
void layer_dropout(const Schedule& schedule, double rate, std::uint64_t seed, Index layer, Index width, Range times,
                   const RowMap<const T>& x, const RowMap<T>& y) {
  const DropoutMask mask(rate);
  const T factor = static_cast<T>(mask.factor);
  const int threads =
      threads_for(static_cast<double>(schedule.work(times.begin, times.end) * width) * policy::cost::masked);
  parallel(threads, [&](int index) {
    for (Index time = times.begin; time < times.end; ++time) {
      const Range rows = split(schedule.active[static_cast<std::size_t>(time)], threads, index);
      for (Index row = rows.begin; row < rows.end; ++row) {
        const Index batch_row = schedule.order[static_cast<std::size_t>(row)];
        const Index at_time = schedule.caller_time(time, row);
        const Index place = ((layer * schedule.rows + batch_row) * schedule.steps + at_time) * width;
        active_kernels<T>().dropout(x.at(time, row), y.at(time, row), width, seed, static_cast<std::uint64_t>(place),
                                    mask.threshold, factor);
      }
    }
  });
}

template <class T>
void sequence_dropout(const Schedule& schedule, double rate, std::uint64_t seed, Index width, Range times,
                      const RowMap<T>& rows) {
  const DropoutMask mask(rate);
  const int threads =
      threads_for(static_cast<double>(schedule.work(times.begin, times.end) * width) * policy::cost::masked);
  parallel(threads, [&](int index) {
    for (Index time = times.begin; time < times.end; ++time) {
      const Range some = split(schedule.active[static_cast<std::size_t>(time)], threads, index);
      for (Index row = some.begin; row < some.end; ++row) {
        const auto place = static_cast<std::uint64_t>(schedule.order[static_cast<std::size_t>(row)] * width);
        T* const values = rows.at(time, row);
        active_kernels<T>().dropout(values, values, width, seed, place, mask.threshold, static_cast<T>(mask.factor));
      }
    }
  });
}

template <class T>
void recurrent_mask(const Schedule& schedule, double rate, std::uint64_t seed, const CellShape& shape, T* mask) {
  const DropoutMask dropout(rate);
  const std::vector<T> ones(static_cast<std::size_t>(shape.state), T(1));
  std::fill_n(mask, schedule.rows * shape.state_padded(), T(0));
  for (Index row = 0; row < schedule.rows; ++row) {
    const auto first = static_cast<std::uint64_t>(schedule.order[static_cast<std::size_t>(row)] * shape.state);
    active_kernels<T>().dropout(ones.data(), mask + row * shape.state_padded(), shape.state, seed, first,
                                dropout.threshold, static_cast<T>(dropout.factor));
  }
}

template <class T>
void mask_initial_state(const Schedule& schedule, const CellShape& shape, const T* h0, const T* mask, T* masked) {
  for (Index row = 0; row < schedule.rows; ++row) {
    T* const to = masked + row * shape.state;
    std::copy_n(h0 + row * shape.state, shape.state, to);
    active_kernels<T>().multiply(mask + row * shape.state_padded(), to, shape.state);
  }
}

template <class T>
void weight_dropout(double rate, std::uint64_t seed, const View<T, 2>& matrix) {
  const DropoutMask mask(rate);
  const Index width = matrix.shape[1];
  std::vector<T> row(static_cast<std::size_t>(width));
  for (Index r = 0; r < matrix.shape[0]; ++r) {
    for (Index k = 0; k < width; ++k) row[static_cast<std::size_t>(k)] = matrix(r, k);
    active_kernels<T>().dropout(row.data(), row.data(), width, seed, static_cast<std::uint64_t>(r * width),
                                mask.threshold, static_cast<T>(mask.factor));
    for (Index k = 0; k < width; ++k) matrix(r, k) = row[static_cast<std::size_t>(k)];
  }
}

LstmConfig without_dropout(LstmConfig config) {
  config.dropout = config.input_dropout = config.recurrent_dropout = config.weight_dropout = 0.0;
  return config;
}

template void weight_dropout(double, std::uint64_t, const View<float, 2>&);
template void weight_dropout(double, std::uint64_t, const View<double, 2>&);
template void recurrent_mask(const Schedule&, double, std::uint64_t, const CellShape&, float*);
template void recurrent_mask(const Schedule&, double, std::uint64_t, const CellShape&, double*);
template void mask_initial_state(const Schedule&, const CellShape&, const float*, const float*, float*);
template void mask_initial_state(const Schedule&, const CellShape&, const double*, const double*, double*);
template void sequence_dropout(const Schedule&, double, std::uint64_t, Index, Range, const RowMap<float>&);
template void sequence_dropout(const Schedule&, double, std::uint64_t, Index, Range, const RowMap<double>&);
template void layer_dropout(const Schedule&, double, std::uint64_t, Index, Index, Range, const RowMap<const float>&,
                            const RowMap<float>&);
template void layer_dropout(const Schedule&, double, std::uint64_t, Index, Index, Range, const RowMap<const double>&,
                            const RowMap<double>&);

}  // namespace lstmcore
