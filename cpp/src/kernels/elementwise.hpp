// Work on arrays element by element: activations and their derivatives, one softmax row, dropout, optimizer steps. An
// element's bits do not depend on its place in the array: the last partial vector goes through the same vector code.
#pragma once

#include "activations.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

/// z = function(x, y) over n elements; z may be x or y.
template <class T, class Function>
inline void map_pairs(const T* x, const T* y, T* z, Index n, Function function) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  Index k = 0;
  for (; k + lanes <= n; k += lanes) ei::pstoreu(z + k, function(ei::ploadu<P>(x + k), ei::ploadu<P>(y + k)));
  if (k < n) store_part(z + k, function(load_part<P>(x + k, n - k), load_part<P>(y + k, n - k)), n - k);
}

// ---- activations ----------------------------------------------------------------------------------------------------

/// max(x, 0); NaN stays.
template <class T>
void relu(const T* x, T* y, Index n) {
  map_elements(x, y, n, [](const PacketOf<T>& value) {
    const PacketOf<T> zero = ei::pzero(value);
    return ei::pselect(ei::pcmp_lt(value, zero), zero, value);
  });
}

/// dy where y > 0 (or NaN), else 0.
template <class T>
void relu_backward(const T* y, const T* dy, T* dz, Index n) {
  map_pairs(y, dy, dz, n, [](const PacketOf<T>& value, const PacketOf<T>& gradient) {
    const PacketOf<T> zero = ei::pzero(value);
    return ei::pselect(ei::pcmp_le(value, zero), zero, gradient);
  });
}

/// dy * y * (1 - y).
template <class T>
void sigmoid_backward(const T* y, const T* dy, T* dz, Index n) {
  map_pairs(y, dy, dz, n, [](const PacketOf<T>& value, const PacketOf<T>& gradient) {
    return ei::pmul(gradient, ei::pmul(value, ei::psub(constant<PacketOf<T>>(1.0), value)));
  });
}

/// dy * (1 - y^2), as (1 - y) (1 + y), which loses no digits where |y| is close to 1.
template <class T>
void tanh_backward(const T* y, const T* dy, T* dz, Index n) {
  map_pairs(y, dy, dz, n, [](const PacketOf<T>& value, const PacketOf<T>& gradient) {
    const PacketOf<T> one = constant<PacketOf<T>>(1.0);
    return ei::pmul(gradient, ei::pmul(ei::psub(one, value), ei::padd(one, value)));
  });
}

// ---- softmax --------------------------------------------------------------------------------------------------------

/// Sum of the lanes, in their order.
template <class P>
inline double sum_of_lanes(const P& value) {
  alignas(64) ScalarOf<P> lanes[ei::unpacket_traits<P>::size];
  ei::pstore(lanes, value);
  double sum = 0;
  for (ScalarOf<P> lane : lanes) sum += static_cast<double>(lane);
  return sum;
}

/// The largest of n >= 1 elements; any value if one is NaN.
template <class T>
T largest_element(const T* x, Index n) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  T largest = x[0];
  Index k = 0;
  if (n >= lanes) {
    P running = ei::ploadu<P>(x);
    for (k = lanes; k + lanes <= n; k += lanes) running = ei::pmax(running, ei::ploadu<P>(x + k));
    largest = ei::predux_max(running);
  }
  for (; k < n; ++k) largest = x[k] > largest ? x[k] : largest;
  return largest;
}

/// y = exp(x - shift); returns the sum. Runs of 16 vectors are summed in T and the runs in double, so that the error
/// does not grow with the length of the row.
template <class T>
double exp_and_sum(const T* x, T shift, T* y, Index n) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>, run = 16 * lanes;
  const P shifts = ei::pset1<P>(shift);
  double total = 0;
  Index k = 0;
  while (n - k >= lanes) {
    P sum = constant<P>(0.0);
    for (const Index end = n - k < run ? n - lanes + 1 : k + run; k < end; k += lanes) {
      const P e = vexp(ei::psub(ei::ploadu<P>(x + k), shifts));
      ei::pstoreu(y + k, e);
      sum = ei::padd(sum, e);
    }
    total += sum_of_lanes(sum);
  }
  if (k < n) store_part(y + k, vexp(ei::psub(load_part<P>(x + k, n - k), shifts)), n - k);
  for (; k < n; ++k) total += static_cast<double>(y[k]);
  return total;
}

/// A row that fits into one vector, as those of most classifiers do.
template <class T>
void softmax_of_vector(const T* x, T* y, Index n) {
  using P = PacketOf<T>;
  alignas(64) T lanes[lanes_of<T>];
  const P e = vexp(ei::psub(load_part<P>(x, n), ei::pset1<P>(largest_element(x, n))));
  ei::pstore(lanes, e);
  double sum = 0;
  for (Index k = 0; k < n; ++k) sum += static_cast<double>(lanes[k]);
  store_part(y, ei::pdiv(e, constant<P>(sum)), n);
}

/// y = exp(x - max x) / sum; NaN or infinity anywhere makes the whole row NaN. y may be x.
template <class T>
void softmax(const T* x, T* y, Index n) {
  using P = PacketOf<T>;
  if (n < 1) return;
  if (n <= lanes_of<T>) return softmax_of_vector(x, y, n);
  const P sum = constant<P>(exp_and_sum(x, largest_element(x, n), y, n));
  map_elements(y, y, n, [&](const P& value) { return ei::pdiv(value, sum); });
}

// ---- simple arithmetic ----------------------------------------------------------------------------------------------

/// y += x.
template <class T>
void add(const T* x, T* y, Index n) {
  map_pairs(x, y, y, n, [](const PacketOf<T>& a, const PacketOf<T>& b) { return ei::padd(b, a); });
}

/// y *= x.
template <class T>
void multiply(const T* x, T* y, Index n) {
  map_pairs(x, y, y, n, [](const PacketOf<T>& a, const PacketOf<T>& b) { return ei::pmul(b, a); });
}

template <class T>
void scale(T* x, T factor, Index n) {
  const PacketOf<T> factors = ei::pset1<PacketOf<T>>(factor);
  map_elements(x, x, n, [&](const PacketOf<T>& value) { return ei::pmul(value, factors); });
}

/// min(max(x, -limit), limit); NaN stays.
template <class T>
void clip(T* x, T limit, Index n) {
  using P = PacketOf<T>;
  const P high = ei::pset1<P>(limit), low = ei::pnegate(high);
  map_elements(x, x, n, [&](const P& value) {
    const P raised = ei::pselect(ei::pcmp_lt(value, low), low, value);
    return ei::pselect(ei::pcmp_lt(high, value), high, raised);
  });
}

/// Sum of squares in double. Element k goes to partial sum k % 16 whatever the vector's width, and nothing is fused, so
/// that every instruction set computes the same bits.
template <class T>
double squared_norm(const T* x, Index n) {
  constexpr Index parts = 16;
  double sums[parts] = {};
  Index k = 0;
  for (; k + parts <= n; k += parts) {
    for (Index part = 0; part < parts; ++part) {
      const double value = static_cast<double>(x[k + part]);
      sums[part] += value * value;
    }
  }
  for (Index part = 0; k + part < n; ++part) {
    const double value = static_cast<double>(x[k + part]);
    sums[part] += value * value;
  }
  for (Index width = parts / 2; width > 0; width /= 2) {
    for (Index part = 0; part < width; ++part) sums[part] += sums[part + width];
  }
  return sums[0];
}

// ---- dropout --------------------------------------------------------------------------------------------------------

using Word = std::uint32_t;

constexpr int philox_most_blocks = 32;

/// The words of `blocks` (at most philox_most_blocks) blocks at counters counter, counter + 1, ... of Philox 4x32-10
/// (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"), block after block. The compiler
/// vectorizes the loops over blocks only as long as it does not know how short they are.
inline void philox(std::uint64_t seed, std::uint64_t counter, int blocks, std::uint32_t* words) {
  Word a[philox_most_blocks], b[philox_most_blocks], c[philox_most_blocks], d[philox_most_blocks];
  for (int block = 0; block < blocks; ++block) {
    const std::uint64_t at = counter + static_cast<std::uint64_t>(block);
    a[block] = static_cast<Word>(at);
    b[block] = static_cast<Word>(at >> 32);
    c[block] = d[block] = 0;
  }
  Word key_low = static_cast<Word>(seed), key_high = static_cast<Word>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int block = 0; block < blocks; ++block) {
      const std::uint64_t first = std::uint64_t{0xD2511F53u} * a[block];
      const std::uint64_t second = std::uint64_t{0xCD9E8D57u} * c[block];
      a[block] = static_cast<Word>(second >> 32) ^ b[block] ^ key_low;
      b[block] = static_cast<Word>(second);
      c[block] = static_cast<Word>(first >> 32) ^ d[block] ^ key_high;
      d[block] = static_cast<Word>(first);
    }
    key_low += 0x9E3779B9u;
    key_high += 0xBB67AE85u;
  }
  for (int block = 0; block < blocks; ++block) {
    words[4 * block] = a[block];
    words[4 * block + 1] = b[block];
    words[4 * block + 2] = c[block];
    words[4 * block + 3] = d[block];
  }
}

/// y = x * factor where the word of element first + k is not below the threshold, else 0. y may be x.
template <class T>
void dropout(const T* x, T* y, Index n, std::uint64_t seed, std::uint64_t first, std::uint32_t threshold, T factor) {
  using P = PacketOf<T>;
  constexpr Index most = 4 * philox_most_blocks;
  const P factors = ei::pset1<P>(factor);
  std::uint32_t words[most];
  T kept[most];
  // Blocks start at multiples of four elements; the first ones of a block may lie before `first`.
  Index skipped = static_cast<Index>(first % 4);
  for (Index k = 0; k < n; skipped = 0) {
    const Index wanted = n - k + skipped < most ? n - k + skipped : most;
    philox(seed, (first + static_cast<std::uint64_t>(k)) / 4, static_cast<int>((wanted + 3) / 4), words);
    for (Index word = 0; word < wanted; ++word) kept[word] = words[word] >= threshold ? T(1) : T(0);
    map_pairs(x + k, kept + skipped, y + k, wanted - skipped, [&](const P& value, const P& keep) {
      return ei::pselect(ei::pcmp_eq(keep, ei::pzero(keep)), ei::pzero(keep), ei::pmul(value, factors));
    });
    k += wanted - skipped;
  }
}

// ---- optimizer steps ------------------------------------------------------------------------------------------------

/// Correctly rounded; Eigen's psqrt is an approximation that loses denormals and infinity on some instruction sets.
#if defined(EIGEN_VECTORIZE_AVX512)
inline ei::Packet16f square_root(const ei::Packet16f& x) { return _mm512_sqrt_ps(x); }
inline ei::Packet8d square_root(const ei::Packet8d& x) { return _mm512_sqrt_pd(x); }
#elif defined(EIGEN_VECTORIZE_AVX)
inline ei::Packet8f square_root(const ei::Packet8f& x) { return _mm256_sqrt_ps(x); }
inline ei::Packet4d square_root(const ei::Packet4d& x) { return _mm256_sqrt_pd(x); }
#elif defined(EIGEN_VECTORIZE_SSE2)
inline ei::Packet4f square_root(const ei::Packet4f& x) { return _mm_sqrt_ps(x); }
inline ei::Packet2d square_root(const ei::Packet2d& x) { return _mm_sqrt_pd(x); }
#else
template <class P>
inline P square_root(const P& x) {
  return ei::psqrt(x);
}
#endif

/// velocity = momentum * velocity - learning_rate * gradient; parameter += velocity or, with nesterov, parameter +=
/// momentum * velocity - learning_rate * gradient. Without a velocity (null), parameter -= learning_rate * gradient.
template <class T>
void sgd(T* parameter, const T* gradient, T* velocity, Index n, T learning_rate, T momentum, bool nesterov) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const P rate = ei::pset1<P>(-learning_rate), friction = ei::pset1<P>(momentum);
  for (Index k = 0; k < n; k += lanes) {
    P change = ei::pmul(rate, load_some<P>(gradient + k, n - k));
    if (velocity != nullptr) {
      const P speed = ei::pmadd(friction, load_some<P>(velocity + k, n - k), change);
      store_some(velocity + k, speed, n - k);
      change = nesterov ? ei::pmadd(friction, speed, change) : speed;
    }
    store_some(parameter + k, ei::padd(load_some<P>(parameter + k, n - k), change), n - k);
  }
}

/// mean_square = (1 - decay) * mean_square + decay * gradient^2; parameter -= learning_rate * gradient /
/// (sqrt(mean_square) + epsilon).
template <class T>
void rmsprop(T* parameter, const T* gradient, T* mean_square, Index n, T learning_rate, T decay, T epsilon) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const P rate = ei::pset1<P>(learning_rate), small = ei::pset1<P>(epsilon);
  const P gain = ei::pset1<P>(decay), keep = ei::pset1<P>(T(1) - decay);
  for (Index k = 0; k < n; k += lanes) {
    const P g = load_some<P>(gradient + k, n - k);
    const P mean = ei::pmadd(ei::pmul(gain, g), g, ei::pmul(keep, load_some<P>(mean_square + k, n - k)));
    store_some(mean_square + k, mean, n - k);
    const P change = ei::pdiv(ei::pmul(rate, g), ei::padd(square_root(mean), small));
    store_some(parameter + k, ei::psub(load_some<P>(parameter + k, n - k), change), n - k);
  }
}

/// m = (1 - decay1) m + decay1 g; v = (1 - decay2) v + decay2 g^2; parameter -= learning_rate * (weight_decay *
/// parameter + m * correction1 / (sqrt(v * correction2) + epsilon)).
template <class T>
void adam(T* parameter, const T* gradient, T* m, T* v, Index n, T learning_rate, T decay1, T decay2, T correction1,
          T correction2, T epsilon, T weight_decay) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const P rate = ei::pset1<P>(learning_rate), small = ei::pset1<P>(epsilon), shrink = ei::pset1<P>(weight_decay);
  const P gain1 = ei::pset1<P>(decay1), keep1 = ei::pset1<P>(T(1) - decay1), unbias1 = ei::pset1<P>(correction1);
  const P gain2 = ei::pset1<P>(decay2), keep2 = ei::pset1<P>(T(1) - decay2), unbias2 = ei::pset1<P>(correction2);
  for (Index k = 0; k < n; k += lanes) {
    const P g = load_some<P>(gradient + k, n - k);
    const P mean = ei::pmadd(gain1, g, ei::pmul(keep1, load_some<P>(m + k, n - k)));
    const P square = ei::pmadd(ei::pmul(gain2, g), g, ei::pmul(keep2, load_some<P>(v + k, n - k)));
    store_some(m + k, mean, n - k);
    store_some(v + k, square, n - k);
    const P direction = ei::pdiv(ei::pmul(mean, unbias1), ei::padd(square_root(ei::pmul(square, unbias2)), small));
    const P p = load_some<P>(parameter + k, n - k);
    store_some(parameter + k, ei::psub(p, ei::pmul(rate, ei::pmadd(shrink, p, direction))), n - k);
  }
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
