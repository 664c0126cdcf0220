// The floating-point mode of the engine: subnormal numbers are zeros, results are rounded to nearest, nothing traps.
//
// Products with subnormal numbers take many times as long on some processors: gradients that have decayed to 1e-39, or
// the state of a stream after a long silence, would slow every step. The promise of the same bits also needs one mode
// on all threads of a team, whatever the caller's is.
#pragma once

#include <cstdint>

#if defined(__SSE2__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

namespace lstmcore {

/// The control bits of the calling thread's floating-point unit, and those that the engine computes with.
namespace float_mode {

#if defined(__SSE2__) || defined(_M_X64)
/// MXCSR: everything but the six exception flags. Flush results (FTZ) and operands (DAZ) to zero, mask all exceptions,
/// round to nearest.
using Word = std::uint32_t;
constexpr Word flags = 0x3f, of_engine = 0x8000 | 0x0040 | 0x1f80;
inline Word read() { return _mm_getcsr(); }
inline void write(Word word) { _mm_setcsr(word); }
inline Word wanted(Word) { return of_engine; }
#elif defined(__aarch64__)
/// FPCR: FZ flushes operands and results to zero; no traps, round to nearest. Other bits stay as they are.
using Word = std::uint64_t;
constexpr Word flags = 0, of_engine = Word{1} << 24;
constexpr Word decided = (Word{1} << 24) | (Word{3} << 22) | (Word{0x9f} << 8);
inline Word read() {
  Word word;
  __asm__ __volatile__("mrs %0, fpcr" : "=r"(word));
  return word;
}
inline void write(Word word) { __asm__ __volatile__("msr fpcr, %0" : : "r"(word) : "memory"); }
inline Word wanted(Word before) { return (before & ~decided) | of_engine; }
#else
using Word = std::uint32_t;
constexpr Word flags = 0;
inline Word read() { return 0; }
inline void write(Word) {}
inline Word wanted(Word before) { return before; }
#endif

}  // namespace float_mode

/// The engine's floating-point mode for a scope: set by the constructor; the destructor restores the previous mode.
/// Costs almost nothing if the mode is already set, as inside another such scope.
class EngineFloats {
 public:
  EngineFloats() : before_(float_mode::read()) {
    const float_mode::Word wanted = float_mode::wanted(before_);
    changed_ = (before_ & ~float_mode::flags) != wanted;
    if (changed_) float_mode::write(wanted);
  }
  ~EngineFloats() {
    if (changed_) float_mode::write(before_);
  }
  EngineFloats(const EngineFloats&) = delete;
  EngineFloats& operator=(const EngineFloats&) = delete;

 private:
  const float_mode::Word before_;
  bool changed_;
};

}  // namespace lstmcore
