#include "../isa/isa.hpp"
#include "walk.hpp"

namespace lstmcore {

template <class T>
ZoneoutRows<T>::ZoneoutRows(const CellShape& shape, const CellVariant<T>& variant, Index rows)
    : shape_(shape), of_h_(variant.zoneout_h), of_c_(variant.zoneout_c) {
  const auto size = static_cast<std::size_t>(rows * shape.padded());
  const std::size_t masks = (of_h_.at_work ? 1 : 0) + (of_c_.at_work ? 1 : 0);
  if (masks == 0) return;
  ones_.resize(static_cast<std::size_t>(shape.hidden), T(1));
  masks_.resize(masks * size, T(0));
  const T* next = masks_.data();
  for (std::vector<const T*>* pointers : {of_h_.at_work ? &h_ : nullptr, of_c_.at_work ? &c_ : nullptr}) {
    if (pointers == nullptr) continue;
    for (Index row = 0; row < rows; ++row, next += shape.padded()) pointers->push_back(next);
  }
}

template <class T>
void ZoneoutRows<T>::fill(Index i, Index batch, Index batch_row, Index time, Range blocks) {
  if (masks_.empty()) return;
  const Range units{blocks.begin * shape_.lanes, std::min(blocks.end * shape_.lanes, shape_.hidden)};
  const Index place = (time * batch + batch_row) * shape_.hidden;
  T* const rows = masks_.data() + i * shape_.padded();
  if (of_h_.at_work) fill(of_h_, rows, place, units);
  if (of_c_.at_work) fill(of_c_, rows + static_cast<Index>(h_.size()) * shape_.padded(), place, units);
}

template <class T>
void ZoneoutRows<T>::fill(const ZoneoutMask& mask, T* row, Index place, Range units) {
  active_kernels<T>().dropout(ones_.data(), row + units.begin, units.size(), mask.seed,
                              static_cast<std::uint64_t>(place + units.begin), mask.threshold, T(1));
}

template class ZoneoutRows<float>;
template class ZoneoutRows<double>;

}  // namespace lstmcore
