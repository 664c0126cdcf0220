// How much memory a call will take.
#pragma once

#include <cstdint>
#include <lstmcore/lstm.hpp>

namespace lstmcore {

/// What the memory of a call depends on, besides the configuration and the element type.
struct LstmCall {
  std::int64_t batch = 0;         ///< N
  std::int64_t steps = 0;         ///< T
  std::int64_t valid_steps = 0;   ///< sum of the lengths; N T if no row is shorter than T
  std::int64_t recompute = 0;     ///< as in LstmSequence
  std::int64_t vector_bytes = 0;  ///< of the instruction set
  int threads = 1;
};

/// Bytes of the engine itself; arguments and results belong to the caller.
struct LstmMemory {
  std::int64_t weights = 0;    ///< packed for the forward
  std::int64_t inference = 0;  ///< at the peak of a forward without a tape
  std::int64_t tape = 0;       ///< `LstmTape::bytes` once the backward has filled all of it
  std::int64_t backward = 0;   ///< at its peak, with weights packed for it, sums of their gradients and scratch
};

/// Counts the buffers of such a call without allocating them, for products in the precision of T. The size of the tape
/// is exact; sizes that depend on each row's length, or on how work is divided among threads, are estimates. Throws
/// std::invalid_argument if a size is negative or the bytes do not fit into 64 bits.
template <class T>
LstmMemory lstm_memory(const LstmConfig& config, const LstmCall& call);

extern template LstmMemory lstm_memory<float>(const LstmConfig&, const LstmCall&);
extern template LstmMemory lstm_memory<double>(const LstmConfig&, const LstmCall&);

}  // namespace lstmcore
