// The floating-point mode of the engine: subnormal numbers are zeros, results are rounded to nearest, nothing traps.
//
// Products with subnormal numbers take many times as long on some processors: gradients that have decayed to 1e-39, or
// the state of a stream after a long silence, would slow every step. The promise of the same bits also needs one mode
// on all threads of a team, whatever the caller's is.
#pragma once

#include <cstdint>

// Emscripten has SSE's intrinsics, but WebAssembly has no floating-point mode.
#if (defined(__SSE2__) || defined(_M_X64)) && !defined(__EMSCRIPTEN__)
#define LSTMCORE_HAS_MXCSR
#include <xmmintrin.h>
#endif

namespace lstmcore {

/// The control bits of the calling thread's floating-point unit, and those that the engine computes with.
namespace float_mode {

#if defined(LSTMCORE_HAS_MXCSR)
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

/// The engine's floating-point mode for a scope that starts no team: set by the constructor; the destructor restores
/// the previous mode. Costs almost nothing if the mode is already set, as inside another such scope.
class EngineMode {
 public:
  EngineMode() : before_(float_mode::read()) {
    const float_mode::Word wanted = float_mode::wanted(before_);
    changed_ = (before_ & ~float_mode::flags) != wanted;
    if (changed_) float_mode::write(wanted);
  }
  ~EngineMode() {
    if (changed_) float_mode::write(before_);
  }
  EngineMode(const EngineMode&) = delete;
  EngineMode& operator=(const EngineMode&) = delete;

  bool changed() const { return changed_; }
  float_mode::Word before() const { return before_; }

 private:
  const float_mode::Word before_;
  bool changed_;
};

/// The same for the entries of the engine. It is remembered for `CallersMode`, which a stream's step must not do: the
/// first use of a thread's own variable may allocate memory.
class EngineFloats {
 public:
  EngineFloats() : outer_(of_thread()) {
    if (mode_.changed()) of_thread() = &mode_;
  }
  ~EngineFloats() { of_thread() = outer_; }
  EngineFloats(const EngineFloats&) = delete;
  EngineFloats& operator=(const EngineFloats&) = delete;

 private:
  friend class CallersMode;
  /// The scope that changed the thread's mode last; null: none did.
  static const EngineMode*& of_thread() {
    static thread_local const EngineMode* mode = nullptr;
    return mode;
  }

  const EngineMode mode_;
  const EngineMode* const outer_;
};

/// Inside an `EngineFloats`, the caller's mode again, for code that is not the engine's: an OpenMP runtime or an
/// executor may start threads, which inherit the mode and outlive the call, or work on other tasks of the program.
class CallersMode {
 public:
  CallersMode() : engine_(EngineFloats::of_thread()) {
    if (engine_ != nullptr) float_mode::write(engine_->before());
  }
  ~CallersMode() {
    if (engine_ != nullptr) float_mode::write(float_mode::wanted(engine_->before()));
  }
  CallersMode(const CallersMode&) = delete;
  CallersMode& operator=(const CallersMode&) = delete;

 private:
  const EngineMode* const engine_;
};

}  // namespace lstmcore
