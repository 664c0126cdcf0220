#include "../runtime/isa.hpp"
#include "walk.hpp"

namespace lstmcore {

template <class T>
ZoneoutRows<T>::ZoneoutRows(const CellShape& shape, const CellVariant<T>& variant, Index rows)
    : shape_(shape), of_h_(variant.zoneout_h), of_c_(variant.zoneout_c) {
  if (of_h_.active || of_c_.active) ones_.resize(static_cast<std::size_t>(shape.hidden), T(1));
  const auto make = [rows](Index width, std::vector<T>& masks, std::vector<const T*>& pointers) {
    masks.resize(static_cast<std::size_t>(rows * width), T(0));
    for (Index row = 0; row < rows; ++row) pointers.push_back(masks.data() + row * width);
  };
  if (of_h_.active) make(shape.state_padded(), h_masks_, h_);
  if (of_c_.active) make(shape.padded(), c_masks_, c_);
}

template <class T>
void ZoneoutRows<T>::fill(Index i, Index batch, Index batch_row, Index time, Range blocks) {
  const Index place = time * batch + batch_row;
  const Range units{blocks.begin * shape_.lanes, std::min(blocks.end * shape_.lanes, shape_.hidden)};
  const Range features = shape_.projected ? Range{0, shape_.state} : units;
  if (of_h_.active) fill(of_h_, h_masks_.data() + i * shape_.state_padded(), place * shape_.state, features);
  if (of_c_.active) fill(of_c_, c_masks_.data() + i * shape_.padded(), place * shape_.hidden, units);
}

template <class T>
void ZoneoutRows<T>::fill(const ZoneoutMask& mask, T* row, Index place, Range units) {
  active_kernels<T>().dropout(ones_.data(), row + units.begin, units.size(), mask.seed,
                              static_cast<std::uint64_t>(place + units.begin), mask.threshold, T(1));
}

template class ZoneoutRows<float>;
template class ZoneoutRows<double>;

}  // namespace lstmcore
