#include "../dropout_mask.hpp"
#include "layers.hpp"

namespace lstmcore {

template <class T>
void layer_dropout(const Schedule& schedule, double rate, std::uint64_t seed, Index layer, Index width, Range times,
                   const RowMap<const T>& x, const RowMap<T>& y) {
  const DropoutMask mask(rate);
  const T factor = static_cast<T>(mask.factor);
  const int threads = threads_for(static_cast<double>(schedule.work(times.begin, times.end) * width) * 16);
  parallel(threads, [&](int index) {
    for (Index time = times.begin; time < times.end; ++time) {
      const Range rows = split(schedule.alive[static_cast<std::size_t>(time)], threads, index);
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
void sequence_dropout(const Schedule& schedule, double rate, std::uint64_t seed, Index width, const RowMap<T>& rows) {
  const DropoutMask mask(rate);
  const int threads = threads_for(static_cast<double>(schedule.total * width) * 16);
  parallel(threads, [&](int index) {
    for (Index time = 0; time < schedule.longest; ++time) {
      const Range some = split(schedule.alive[static_cast<std::size_t>(time)], threads, index);
      for (Index row = some.begin; row < some.end; ++row) {
        const auto place = static_cast<std::uint64_t>(schedule.order[static_cast<std::size_t>(row)] * width);
        T* const values = rows.at(time, row);
        active_kernels<T>().dropout(values, values, width, seed, place, mask.threshold, static_cast<T>(mask.factor));
      }
    }
  });
}

template void sequence_dropout(const Schedule&, double, std::uint64_t, Index, const RowMap<float>&);
template void sequence_dropout(const Schedule&, double, std::uint64_t, Index, const RowMap<double>&);
template void layer_dropout(const Schedule&, double, std::uint64_t, Index, Index, Range, const RowMap<const float>&,
                            const RowMap<float>&);
template void layer_dropout(const Schedule&, double, std::uint64_t, Index, Index, Range, const RowMap<const double>&,
                            const RowMap<double>&);

}  // namespace lstmcore
