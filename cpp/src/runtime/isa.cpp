// Chooses the instruction set. Compiled for the baseline, so that it runs on every machine.
#include "isa.hpp"

#include <cstdlib>
#include <initializer_list>
#include <iterator>
#include <lstmcore/cpu.hpp>

#include "cpuid.hpp"
#include "errors.hpp"

namespace lstmcore {

#define LSTMCORE_DECLARE_TABLES(isa)                      \
  namespace isa {                                         \
  const kernels::KernelTable& kernel_table();             \
  const kernels::Kernels<float>& kernels_f32();           \
  const kernels::Kernels<double>& kernels_f64();          \
  const kernels::TrainingKernels<float>& training_f32();  \
  const kernels::TrainingKernels<double>& training_f64(); \
  }

LSTMCORE_DECLARE_TABLES(baseline)
#ifdef LSTMCORE_AVX2
LSTMCORE_DECLARE_TABLES(avx2)
#define LSTMCORE_OF_AVX2(value) value
#else
#define LSTMCORE_OF_AVX2(value) nullptr
#endif
#ifdef LSTMCORE_AVX512
LSTMCORE_DECLARE_TABLES(avx512)
#define LSTMCORE_OF_AVX512(value) value
#else
#define LSTMCORE_OF_AVX512(value) nullptr
#endif

namespace {

#if defined(LSTMCORE_AVX2) || defined(LSTMCORE_AVX512)

bool has_osxsave() { return cpuid(0).eax >= 7 && all(cpuid(1).ecx, bit(27)); }

/// x86-64-v3: AVX, AVX2, BMI1, BMI2, F16C, FMA, LZCNT and MOVBE, with YMM registers saved.
bool has_v3() {
  if (!has_osxsave() || !all(saved_registers(), 0x6)) return false;
  const bool leaf1 = all(cpuid(1).ecx, bit(12) | bit(22) | bit(28) | bit(29));
  const bool leaf7 = all(cpuid(7).ebx, bit(3) | bit(5) | bit(8));
  const bool extended = cpuid(0x80000000u).eax >= 0x80000001u && all(cpuid(0x80000001u).ecx, bit(5));
  return leaf1 && leaf7 && extended;
}

#endif
#ifdef LSTMCORE_AVX512

/// x86-64-v4: also AVX-512 F, BW, CD, DQ and VL, with ZMM and mask registers saved.
bool has_v4() {
  return has_v3() && all(saved_registers(), 0xe6) && all(cpuid(7).ebx, bit(16) | bit(17) | bit(28) | bit(30) | bit(31));
}

#endif

/// One that this build lacks, because it is for another processor or not among LSTMCORE_KERNELS, has no `supported`. It
/// is known by name and width all the same: memory can be counted for any machine.
struct InstructionSet {
  const char* name;
  int vector_bytes;  ///< of the baseline: those of its kernels
  bool (*supported)();
};

constexpr InstructionSet instruction_sets[] = {
    {"baseline", 0, [] { return true; }},
    {"avx2", 32, LSTMCORE_OF_AVX2(&has_v3)},
    {"avx512", 64, LSTMCORE_OF_AVX512(&has_v4)},
};

/// A function that returns a table, of each of `instruction_sets`.
#define LSTMCORE_TABLES(function) \
  {&baseline::function, LSTMCORE_OF_AVX2(&avx2::function), LSTMCORE_OF_AVX512(&avx512::function)}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

struct Choice {
  std::string name;
  std::size_t place;  ///< in `instruction_sets`
};

Choice choose() {
  const std::vector<std::string> supported = supported_isas();
  const char* const forced = std::getenv("LSTMCORE_ISA");
  const std::string wanted = forced != nullptr && *forced != '\0' ? forced : supported.back();
  for (const std::string& name : supported) {
    if (name != wanted) continue;
    for (std::size_t place = 0; place < std::size(instruction_sets); ++place) {
      if (wanted == instruction_sets[place].name) return {wanted, place};
    }
  }
  raise<std::invalid_argument>("LSTMCORE_ISA: expected an instruction set that this machine can run (" +
                               listed(supported) + "), got \"" + wanted + "\"");
}

const Choice& choice() {
  static const Choice made = choose();
  return made;
}

template <class Table>
const Table& chosen(std::initializer_list<const Table& (*)()> tables) {
  return (*(tables.begin() + choice().place))();
}

}  // namespace

std::vector<std::string> known_isas() {
  std::vector<std::string> names;
  for (const InstructionSet& set : instruction_sets) names.emplace_back(set.name);
  return names;
}

std::vector<std::string> supported_isas() {
  std::vector<std::string> names;
  for (const InstructionSet& set : instruction_sets) {
    if (set.supported != nullptr && set.supported()) names.emplace_back(set.name);
  }
  return names;
}

int vector_bytes(const std::string& name) {
  if (name == instruction_sets[0].name) {  // on some processors it has no vectors
    return static_cast<int>(baseline::kernels_f32().lanes) * static_cast<int>(sizeof(float));
  }
  for (const InstructionSet& set : instruction_sets) {
    if (name == set.name) return set.vector_bytes;
  }
  return 0;
}

const std::string& isa() { return choice().name; }

const kernels::KernelTable& active_table() {
  static const kernels::KernelTable& table = chosen<kernels::KernelTable>(LSTMCORE_TABLES(kernel_table));
  return table;
}

template <>
const kernels::Kernels<float>& active_kernels<float>() {
  static const kernels::Kernels<float>& table = chosen<kernels::Kernels<float>>(LSTMCORE_TABLES(kernels_f32));
  return table;
}
template <>
const kernels::Kernels<double>& active_kernels<double>() {
  static const kernels::Kernels<double>& table = chosen<kernels::Kernels<double>>(LSTMCORE_TABLES(kernels_f64));
  return table;
}

namespace kernels {

template <>
const TrainingKernels<float>& training_kernels<float>() {
  static const TrainingKernels<float>& table = chosen<TrainingKernels<float>>(LSTMCORE_TABLES(training_f32));
  return table;
}
template <>
const TrainingKernels<double>& training_kernels<double>() {
  static const TrainingKernels<double>& table = chosen<TrainingKernels<double>>(LSTMCORE_TABLES(training_f64));
  return table;
}

}  // namespace kernels

}  // namespace lstmcore
