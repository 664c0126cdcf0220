// The vector type of this instruction set, through Eigen's packets.
#pragma once

#include <Eigen/Core>

#include "kernel_table.hpp"

// Own code sits in anonymous namespaces: no symbol of it may be merged with another instruction set's.
namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

namespace ei = Eigen::internal;
using kernels::Index;

template <class T>
using PacketOf = typename ei::packet_traits<T>::type;

template <class T>
constexpr int lanes_of = ei::unpacket_traits<PacketOf<T>>::size;

#if defined(EIGEN_VECTORIZE_AVX512) || defined(EIGEN_VECTORIZE_NEON)
constexpr int vector_registers = 32;
#else
constexpr int vector_registers = 16;
#endif

template <class P>
using ScalarOf = typename ei::unpacket_traits<P>::type;

template <class P>
inline P constant(double value) {
  return ei::pset1<P>(static_cast<ScalarOf<P>>(value));
}

/// The first `count` (1..lanes) elements, the others zero.
template <class P>
inline P load_part(const ScalarOf<P>* from, Index count) {
  alignas(64) ScalarOf<P> lanes[ei::unpacket_traits<P>::size] = {};
  for (Index lane = 0; lane < count; ++lane) lanes[lane] = from[lane];
  return ei::pload<P>(lanes);
}

template <class P>
inline void store_part(ScalarOf<P>* to, const P& value, Index count) {
  alignas(64) ScalarOf<P> lanes[ei::unpacket_traits<P>::size];
  ei::pstore(lanes, value);
  for (Index lane = 0; lane < count; ++lane) to[lane] = lanes[lane];
}

template <class P>
inline P load_some(const ScalarOf<P>* from, Index count) {
  return count >= ei::unpacket_traits<P>::size ? ei::ploadu<P>(from) : load_part<P>(from, count);
}

template <class P>
inline void store_some(ScalarOf<P>* to, const P& value, Index count) {
  if (count >= ei::unpacket_traits<P>::size) {
    ei::pstoreu(to, value);
  } else {
    store_part(to, value, count);
  }
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
