// Loops that the compiler must unroll, because their bodies index registers.
#pragma once

#include <utility>

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

template <class Body, int... I>
inline void unroll(std::integer_sequence<int, I...>, Body&& body) {
  (body(std::integral_constant<int, I>{}), ...);
}
/// Calls body(i) for i = 0 to count - 1, each a constant of its own type.
template <int count, class Body>
inline void unroll(Body&& body) {
  unroll(std::make_integer_sequence<int, count>{}, static_cast<Body&&>(body));
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
