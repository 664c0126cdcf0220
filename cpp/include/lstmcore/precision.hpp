// The precision of an LSTM's products. Cells, states, sums and weight gradients are float whatever the precision; only
// the factors of the products are converted to a shorter form.
#pragma once

#include <string>
#include <vector>

namespace lstmcore {

/// A float is exactly the sum of three bfloat16 terms, each with 8 of its 24 significant bits. Products of such terms
/// are summed in float, by hardware units that multiply bfloat16 faster than float.
enum class Precision {
  fp32,       ///< float multiply-adds
  bf16x3,     ///< three terms, the six largest of nine products: as accurate as fp32
  bf16x2,     ///< two terms, three products: error about 1e-6 of sum |a| |b|
  bf16,       ///< one term: error about 4e-3 of each factor
  int8,       ///< inference only: weights with a scale per row, x and h with a scale per row, exact sums
  automatic,  ///< the fastest on this machine that is as accurate as fp32; depends on the layer, never on the batch
};

/// "fp32", "bf16x3", "bf16x2", "bf16", "int8", "auto".
const char* precision_name(Precision precision);
/// The precision with this name. Throws std::invalid_argument, naming `argument`, if the name is unknown.
Precision precision_of(const std::string& name, const char* argument);
/// All names, in the order of the enumeration.
std::vector<std::string> precision_names();

/// The unit that computes products of this precision on this machine: "amx", "avx512_bf16", "avx512_vnni",
/// "avx_vnni", "neon_bf16" or "neon_dot", or the instruction set in use ("avx512", "avx2" or "baseline"). If the
/// machine has no faster unit for the precision, float multiply-adds are used instead, and the name ends in " fp32".
/// For `automatic`, the unit of a large layer.
std::string product_unit_name(Precision precision);

}  // namespace lstmcore
