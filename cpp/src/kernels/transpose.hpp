// Transposition in squares of V x V elements, which stay in registers; for packing and unpacking weights.
#pragma once

#include "vector.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

/// See `Kernels::transpose`.
template <class T>
void transpose(const T* from, Index from_stride, Index rows, Index columns, T* to, Index to_stride) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const auto one_by_one = [=](Index first_row, Index last_row, Index first_column, Index last_column) {
    for (Index column = first_column; column < last_column; ++column) {
      for (Index row = first_row; row < last_row; ++row)
        to[column * to_stride + row] = from[row * from_stride + column];
    }
  };
  Index row = 0;
  for (; row + lanes <= rows; row += lanes) {
    Index column = 0;
    for (; column + lanes <= columns; column += lanes) {
      ei::PacketBlock<P, lanes> square;
      for (Index k = 0; k < lanes; ++k) square.packet[k] = ei::ploadu<P>(from + (row + k) * from_stride + column);
      ei::ptranspose(square);
      for (Index k = 0; k < lanes; ++k) ei::pstoreu(to + (column + k) * to_stride + row, square.packet[k]);
    }
    one_by_one(row, row + lanes, column, columns);
  }
  one_by_one(row, rows, 0, columns);
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
