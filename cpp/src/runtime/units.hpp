// Which unit computes the products of a precision.
#pragma once

#include <lstmcore/precision.hpp>

#include "../kernels/lowp/table.hpp"

namespace lstmcore {

/// How a layer's products are computed: by multiply-adds of their own type, or by a unit on terms of their factors.
struct Arithmetic {
  const kernels::ProductUnit* unit = nullptr;
  int terms = 0;

  explicit operator bool() const { return unit != nullptr; }
  bool quantized() const { return unit != nullptr && unit->group == 4; }
  /// Words of a term of a factor's row.
  kernels::Index groups(kernels::Index depth) const {
    const kernels::Index elements = unit->group * unit->group_multiple;
    return (depth + elements - 1) / elements * unit->group_multiple;
  }
  /// Bytes that a weight takes.
  double weight_bytes() const { return unit == nullptr ? 4.0 : 4.0 * terms / static_cast<double>(unit->group); }
};

/// For a float layer with so many units; plain where no unit here is worth it.
Arithmetic arithmetic_for(Precision precision, kernels::Index hidden);

/// Takes another matrix unit's place, for tests; null: what the machine has.
void use_matrix_unit(const kernels::ProductUnit* bf16, const kernels::ProductUnit* int8);

/// Whether terms are multiplied by any unit that can, also where plain multiply-adds are faster: for tests, and for
/// what LSTMCORE_UNITS=any says from the beginning. Returns what was.
bool use_any_unit(bool any);

/// From the processor's own tile unit; null if there is none or the system does not let us have it.
const kernels::ProductUnit* machine_matrix_unit(bool of_int8);

/// Prepares this thread for products while it lives.
class UnitSession {
 public:
  explicit UnitSession(const Arithmetic& arithmetic) : unit_(arithmetic.unit) {
    if (unit_ != nullptr && unit_->begin != nullptr) unit_->begin();
  }
  ~UnitSession() {
    if (unit_ != nullptr && unit_->end != nullptr) unit_->end();
  }
  UnitSession(const UnitSession&) = delete;
  UnitSession& operator=(const UnitSession&) = delete;

 private:
  const kernels::ProductUnit* unit_;
};

}  // namespace lstmcore
