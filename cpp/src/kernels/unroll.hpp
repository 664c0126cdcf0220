// Loops that the compiler must unroll, because their bodies index registers: GCC unrolls nested loops too late for
// that.
#pragma once

#include <utility>

#if defined(__GNUC__)
#define LSTMCORE_INLINE [[gnu::always_inline]] inline
#else
#define LSTMCORE_INLINE inline
#endif

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

template <class Body, int... I>
LSTMCORE_INLINE void unroll(std::integer_sequence<int, I...>, Body&& body) {
  (body(std::integral_constant<int, I>{}), ...);
}
/// Calls body(i) for i = 0 to count - 1, each a constant of its own type.
template <int count, class Body>
LSTMCORE_INLINE void unroll(Body&& body) {
  unroll(std::make_integer_sequence<int, count>{}, static_cast<Body&&>(body));
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
