// Scalar emulations of the instructions behind the units for products of groups, so that every machine can test what
// uses them: x86's matrix unit (AMX), bit for bit as Intel's manual describes it, and the dot products of AVX-512.
#pragma once

#include <cstdint>

#include "../kernels/lowp/table.hpp"

namespace lstmcore::reference {

/// Emulations of the matrix unit, for `use_matrix_unit`.
const kernels::ProductUnit& emulated_matrix_unit(bool of_int8);

/// How often a thread, so far, has used tiles that were not configured there, has configured them twice or has released
/// what was not configured.
long matrix_unit_violations();
/// How often tiles have been multiplied so far.
long matrix_unit_products();

/// The next float of a chain of multiply-adds of bfloat16: a * b + sum, rounded once to the nearest float, ties to
/// even. Subnormal numbers count as zero, before and after.
float multiply_add_bf16(std::uint16_t a, std::uint16_t b, float sum);
/// a + b under the same rules.
float add_flushed(float a, float b);

/// One word of VDPBF16PS: the product of the odd elements is added first, then that of the even ones.
float dot_bf16(kernels::PackedGroup a, kernels::PackedGroup b, float sum);
/// One word of VPDPBUSD: the bytes of `a` are unsigned, those of `b` signed.
std::int32_t dot_unsigned_int8(kernels::PackedGroup a, kernels::PackedGroup b, std::int32_t sum);
/// The same with signed bytes on both sides.
std::int32_t dot_int8(kernels::PackedGroup a, kernels::PackedGroup b, std::int32_t sum);

}  // namespace lstmcore::reference
