// The features of an ARM processor beyond NEON, as the operating system reports them.
#pragma once

#if defined(__aarch64__)

#if defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>

#include <cstddef>
#elif defined(_WIN32)
// Declared here, since the system's header defines macros with names that the engine uses.
extern "C" __declspec(dllimport) int __stdcall IsProcessorFeaturePresent(unsigned long feature);
#endif

namespace lstmcore {

#if defined(__linux__)

/// Bits of the kernel's interface, here because older headers lack some of them.
constexpr unsigned long hwcap_asimddp = 1ul << 20, hwcap2_bf16 = 1ul << 14;
constexpr unsigned long at_hwcap2 = 26;

/// Dot products of bytes (FEAT_DotProd).
inline bool has_neon_dot() { return (getauxval(AT_HWCAP) & hwcap_asimddp) != 0; }
/// Dot products of bfloat16 pairs (FEAT_BF16).
inline bool has_neon_bf16() { return (getauxval(at_hwcap2) & hwcap2_bf16) != 0; }

#elif defined(__APPLE__)

inline bool apple_feature(const char* name) {
  int value = 0;
  std::size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}
inline bool has_neon_dot() { return apple_feature("hw.optional.arm.FEAT_DotProd"); }
inline bool has_neon_bf16() { return apple_feature("hw.optional.arm.FEAT_BF16"); }

#elif defined(_WIN32)

/// PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE, which older headers lack. Windows reports no bfloat16 that they know of.
inline bool has_neon_dot() { return IsProcessorFeaturePresent(43) != 0; }
inline bool has_neon_bf16() { return false; }

#else

inline bool has_neon_dot() { return false; }
inline bool has_neon_bf16() { return false; }

#endif

}  // namespace lstmcore

#endif
