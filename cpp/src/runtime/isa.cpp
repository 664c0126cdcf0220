// Chooses the instruction set. Compiled for the baseline, so that it runs on every machine.
#include "isa.hpp"

#include <cstdlib>
#include <lstmcore/cpu.hpp>
#include <stdexcept>

#include "cpuid.hpp"

namespace lstmcore {

namespace baseline {
const kernels::KernelTable& kernel_table();
}
#ifdef LSTMCORE_X86
namespace avx2 {
const kernels::KernelTable& kernel_table();
}
namespace avx512 {
const kernels::KernelTable& kernel_table();
}
#endif

namespace {

#ifdef LSTMCORE_X86

bool has_osxsave() { return cpuid(0).eax >= 7 && all(cpuid(1).ecx, bit(27)); }

/// x86-64-v3: AVX, AVX2, BMI1, BMI2, F16C, FMA, LZCNT and MOVBE, with YMM registers saved.
bool has_v3() {
  if (!has_osxsave() || !all(saved_registers(), 0x6)) return false;
  const bool leaf1 = all(cpuid(1).ecx, bit(12) | bit(22) | bit(28) | bit(29));
  const bool leaf7 = all(cpuid(7).ebx, bit(3) | bit(5) | bit(8));
  const bool extended = cpuid(0x80000000u).eax >= 0x80000001u && all(cpuid(0x80000001u).ecx, bit(5));
  return leaf1 && leaf7 && extended;
}

/// x86-64-v4: also AVX-512 F, BW, CD, DQ and VL, with ZMM and mask registers saved.
bool has_v4() {
  return has_v3() && all(saved_registers(), 0xe6) && all(cpuid(7).ebx, bit(16) | bit(17) | bit(28) | bit(30) | bit(31));
}

#endif

/// One that this build lacks, because it is for another processor, is known by name and width all the same: memory
/// can be counted for any machine.
struct InstructionSet {
  const char* name;
  int vector_bytes;
  bool (*supported)();
  const kernels::KernelTable& (*table)();
};

#ifdef LSTMCORE_X86
#define LSTMCORE_ON_X86(supported, isa) supported, &isa::kernel_table
#else
#define LSTMCORE_ON_X86(supported, isa) [] { return false; }, nullptr
#endif

constexpr InstructionSet instruction_sets[] = {
    {"baseline", 16, [] { return true; }, &baseline::kernel_table},
    {"avx2", 32, LSTMCORE_ON_X86(&has_v3, avx2)},
    {"avx512", 64, LSTMCORE_ON_X86(&has_v4, avx512)},
};

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

struct Choice {
  std::string name;
  const kernels::KernelTable* table;
};

Choice choose() {
  const std::vector<std::string> supported = supported_isas();
  const char* const forced = std::getenv("LSTMCORE_ISA");
  const std::string wanted = forced != nullptr && *forced != '\0' ? forced : supported.back();
  for (const std::string& name : supported) {
    if (name != wanted) continue;
    for (const InstructionSet& set : instruction_sets) {
      if (wanted == set.name) return {wanted, &set.table()};
    }
  }
  throw std::invalid_argument("LSTMCORE_ISA: expected an instruction set that this machine can run (" +
                              listed(supported) + "), got \"" + wanted + "\"");
}

const Choice& choice() {
  static const Choice made = choose();
  return made;
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
    if (set.supported()) names.emplace_back(set.name);
  }
  return names;
}

int vector_bytes(const std::string& name) {
  for (const InstructionSet& set : instruction_sets) {
    if (name == set.name) return set.vector_bytes;
  }
  return 0;
}

const std::string& isa() { return choice().name; }

const kernels::KernelTable& active_table() { return *choice().table; }

}  // namespace lstmcore
