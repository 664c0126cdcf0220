// Chooses the unit for a precision. Compiled for the baseline, so that it runs on every machine.
#include "units.hpp"

#include <array>
#include <atomic>
#include <cstdlib>
#include <lstmcore/cpu.hpp>

#include "arm_features.hpp"
#include "cpuid.hpp"
#include "errors.hpp"
#include "isa.hpp"

#if defined(LSTMCORE_AMX) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace lstmcore {

#ifdef LSTMCORE_AVX512_BF16
namespace avx512_bf16 {
const kernels::ProductUnit& product_unit();
}
#endif
#ifdef LSTMCORE_AVX512_VNNI
namespace avx512_vnni {
const kernels::ProductUnit& product_unit();
}
#endif
#ifdef LSTMCORE_AVX_VNNI
namespace avx_vnni {
const kernels::ProductUnit& product_unit();
}
#endif
#ifdef LSTMCORE_AMX
namespace amx {
const kernels::ProductUnit& product_unit(bool of_int8);
}
#endif
#ifdef LSTMCORE_NEON_DOT
namespace neon_dot {
const kernels::ProductUnit& product_unit();
}
#endif
#ifdef LSTMCORE_NEON_BF16
namespace neon_bf16 {
const kernels::ProductUnit& product_unit();
}
#endif

namespace {

constexpr std::array names{"fp32", "bf16x3", "bf16x2", "bf16", "int8", "auto"};

/// The fewest hidden units for which "auto" splits into bfloat16 terms; with fewer, that does not pay. The batch must
/// not decide, since the bits must not depend on it.
constexpr kernels::Index least_hidden = 96;

/// A unit of x86 is used only with the instruction set whose vectors it shares. For all but AVX-VNNI, that is the
/// widest.
[[maybe_unused]] bool widest() { return isa() == "avx512"; }

#ifdef LSTMCORE_AMX
/// Linux saves tile registers only for processes that have asked for them.
bool ask_for_tiles() {
#ifdef __linux__
  constexpr long request_permission = 0x1023, tile_data = 18;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}

/// Whether the processor has AMX with tiles, bfloat16 and int8, and the system saves its registers.
bool has_amx() {
  return all(cpuid(7).edx, bit(22) | bit(24) | bit(25)) && all(saved_registers(), 0x60000) && ask_for_tiles();
}
#endif

const kernels::ProductUnit* bf16_dot_unit() {
#ifdef LSTMCORE_AVX512_BF16
  static const bool found = widest() && all(cpuid(7, 1).eax, bit(5));
  if (found) return &avx512_bf16::product_unit();
#endif
#ifdef LSTMCORE_NEON_BF16
  static const bool found_neon = has_neon_bf16();
  if (found_neon) return &neon_bf16::product_unit();
#endif
  return nullptr;
}

const kernels::ProductUnit& int8_unit() {
#ifdef LSTMCORE_AVX512_VNNI
  static const bool found = widest() && all(cpuid(7).ecx, bit(11));
  if (found) return avx512_vnni::product_unit();
#endif
#ifdef LSTMCORE_AVX_VNNI
  static const bool found_avx = isa() == "avx2" && all(cpuid(7, 1).eax, bit(4));
  if (found_avx) return avx_vnni::product_unit();
#endif
#ifdef LSTMCORE_NEON_DOT
  static const bool found_neon = has_neon_dot();
  if (found_neon) return neon_dot::product_unit();
#endif
  return active_table().lowp.int8;
}

/// The setting of `use_any_unit`; initially from LSTMCORE_UNITS.
std::atomic<bool>& any_unit() {
  static std::atomic<bool> any{[] {
    const char* const text = std::getenv("LSTMCORE_UNITS");
    if (text == nullptr || *text == 0) return false;
    if (std::string(text) == "any") return true;
    raise<std::invalid_argument>("LSTMCORE_UNITS: expected \"any\" or nothing, got \"" + std::string(text) + "\"");
  }()};
  return any;
}

struct MatrixUnits {
  std::atomic<const kernels::ProductUnit*> bf16{nullptr}, int8{nullptr};
};

/// Set by `use_matrix_unit`.
MatrixUnits& for_tests() {
  static MatrixUnits units;
  return units;
}

const kernels::ProductUnit* matrix_unit(bool of_int8) {
  const kernels::ProductUnit* const forced = (of_int8 ? for_tests().int8 : for_tests().bf16).load();
  return forced != nullptr ? forced : machine_matrix_unit(of_int8);
}

}  // namespace

const char* precision_name(Precision precision) { return names.at(static_cast<std::size_t>(precision)); }

std::vector<std::string> precision_names() { return {names.begin(), names.end()}; }

Precision precision_of(const std::string& name, const char* argument) {
  std::string expected;
  for (std::size_t index = 0; index < names.size(); ++index) {
    if (name == names[index]) return static_cast<Precision>(index);
    expected += (index == 0 ? "\"" : ", \"") + std::string(names[index]) + "\"";
  }
  raise<std::invalid_argument>(std::string(argument) + ": expected one of " + expected + ", got " + in_quotes(name));
}

const kernels::ProductUnit* machine_matrix_unit([[maybe_unused]] bool of_int8) {
#ifdef LSTMCORE_AMX
  static const bool found = widest() && has_amx();
  return found ? &amx::product_unit(of_int8) : nullptr;
#else
  return nullptr;
#endif
}

void use_matrix_unit(const kernels::ProductUnit* bf16, const kernels::ProductUnit* int8) {
  for_tests().bf16 = bf16;
  for_tests().int8 = int8;
}

bool use_any_unit(bool any) { return any_unit().exchange(any); }

void check_unit_setting() { any_unit(); }

Arithmetic arithmetic_for(Precision precision, kernels::Index hidden) {
  switch (precision) {
    case Precision::fp32:
      return {};
    case Precision::bf16x3:
    case Precision::bf16x2: {
      const int terms = precision == Precision::bf16x3 ? 3 : 2;
      if (matrix_unit(false) != nullptr) return {matrix_unit(false), terms};
      // A dot unit is twice as fast as multiply-adds, so the six products of three terms, or the three of two, gain
      // nothing: it is used for them only on request.
      if (any_unit() && bf16_dot_unit() != nullptr) return {bf16_dot_unit(), terms};
      return {};
    }
    case Precision::bf16:
      if (matrix_unit(false) != nullptr) return {matrix_unit(false), 1};
      if (bf16_dot_unit() != nullptr) return {bf16_dot_unit(), 1};
      return {};
    case Precision::int8:
      return {matrix_unit(true) != nullptr ? matrix_unit(true) : &int8_unit(), 1};
    case Precision::automatic:
      if (hidden < least_hidden || matrix_unit(false) == nullptr) return {};
      return arithmetic_for(Precision::bf16x3, hidden);
  }
  return {};
}

std::string product_unit_name(Precision precision) {
  const Arithmetic arithmetic = arithmetic_for(precision, least_hidden);
  return arithmetic ? arithmetic.unit->name : isa() + " fp32";
}

}  // namespace lstmcore
