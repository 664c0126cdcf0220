// How exactly an LSTM's products are computed. Cells, states, sums and weights' gradients are float whatever the
// precision; what differs is the numbers that the products' factors are made of.
#pragma once

#include <string>
#include <vector>

namespace lstmcore {

/// A float splits into three bfloat16 numbers without a rest, each with 8 of its 24 digits. Products of such pieces are
/// summed in float by units that multiply bfloat16 faster than float.
enum class Precision {
  fp32,       ///< multiply-adds of float
  bf16x3,     ///< three pieces, the six largest of nine products: as accurate as fp32
  bf16x2,     ///< two pieces, three products: about 1e-6 of sum |a| |b|
  bf16,       ///< one piece: about 4e-3 of each factor
  int8,       ///< inference: weights with a scale per row, rows of x and h with a scale each, sums exact
  automatic,  ///< the fastest that is as accurate as fp32 on this machine; depends on the layer, never on the batch
};

/// "fp32", "bf16x3", "bf16x2", "bf16", "int8", "auto".
const char* precision_name(Precision precision);
/// The precision of this name. Throws std::invalid_argument, naming `argument`, if there is none.
Precision precision_of(const std::string& name, const char* argument);
/// All names, in the order of the enumeration.
std::vector<std::string> precision_names();

/// What computes products of this precision here: "amx", "avx512_bf16", "avx512_vnni", or "avx512", "avx2", "baseline"
/// for the instruction set in use. Where that set's plain multiply-adds stand in for a precision, which they do unless
/// a unit for bfloat16 is there that is faster, the name ends in " fp32". `automatic`: of a large layer.
std::string product_unit_name(Precision precision);

}  // namespace lstmcore
