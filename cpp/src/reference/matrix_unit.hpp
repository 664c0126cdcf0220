// Scalar emulations of the instructions that multiply packed groups, so that every machine can test the code that uses
// them: x86's matrix unit (AMX), bit for bit as Intel's manual describes it, and the dot products of AVX-512 and of
// ARM.
#pragma once

#include <cstdint>

#include "../kernels/lowp/table.hpp"

namespace lstmcore::reference {

/// Emulations of the matrix unit, for `use_matrix_unit`.
const kernels::ProductUnit& emulated_matrix_unit(bool of_int8);

/// How often so far, on any thread, tiles were used or released without being configured, or were configured twice.
long matrix_unit_violations();
/// How often tiles have been multiplied so far.
long matrix_unit_products();

/// a * b + sum for bfloat16 a and b, rounded once to the nearest float, ties to even. Subnormal numbers are replaced by
/// zero, both operands and results.
float multiply_add_bf16(std::uint16_t a, std::uint16_t b, float sum);
/// a + b under the same rules.
float add_flushed(float a, float b);

/// VDPBF16PS on one packed group: the product of the odd elements is added first, then that of the even ones.
float dot_bf16(kernels::PackedGroup a, kernels::PackedGroup b, float sum);
/// ARM's BFDOT on one packed group: the sum of both products is added to `sum`. Every result is rounded to odd: toward
/// zero, and then the last bit is set if digits were lost. Subnormal numbers are replaced by zero.
float dot_bf16_to_odd(kernels::PackedGroup a, kernels::PackedGroup b, float sum);
/// VPDPBUSD on one packed group: the bytes of `a` are unsigned, those of `b` signed.
std::int32_t dot_unsigned_int8(kernels::PackedGroup a, kernels::PackedGroup b, std::int32_t sum);
/// The same with signed bytes on both sides.
std::int32_t dot_int8(kernels::PackedGroup a, kernels::PackedGroup b, std::int32_t sum);

}  // namespace lstmcore::reference
