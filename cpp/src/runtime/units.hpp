// Which unit computes the products of a precision.
#pragma once

#include <lstmcore/precision.hpp>

#include "../kernels/lowp/table.hpp"

namespace lstmcore {

/// How a layer's products are computed: by multiply-adds of their own type (no unit), or by a unit that multiplies the
/// terms of their factors.
struct Arithmetic {
  const kernels::ProductUnit* unit = nullptr;
  int terms = 0;  ///< into which a factor is split, at most `kernels::most_terms`

  explicit operator bool() const { return unit != nullptr; }
  bool quantized() const { return unit != nullptr && unit->group == 4; }
  /// Packed groups of one term of a factor's row.
  kernels::Index groups(kernels::Index depth) const {
    const kernels::Index elements = unit->group * unit->group_multiple;
    return (depth + elements - 1) / elements * unit->group_multiple;
  }
  /// Bytes of a weight, all its terms together.
  double weight_bytes() const { return unit == nullptr ? 4.0 : 4.0 * terms / static_cast<double>(unit->group); }
};

/// For a float layer with `hidden` units; has no unit if none of this machine's pays.
Arithmetic arithmetic_for(Precision precision, kernels::Index hidden);

/// Replaces the matrix units, for tests; null: the ones that the machine has.
void use_matrix_unit(const kernels::ProductUnit* bf16, const kernels::ProductUnit* int8);

/// Sets whether terms are multiplied by any unit that can, even where float multiply-adds are faster: for tests, and
/// for measuring the accuracy of terms on machines without a matrix unit. LSTMCORE_UNITS=any sets it at the start.
/// Returns the former setting.
bool use_any_unit(bool any);

/// Throws std::invalid_argument if LSTMCORE_UNITS is set to anything else, as everything above does that needs it.
void check_unit_setting();

/// The processor's own matrix unit; null if it has none or the system refuses permission to use it.
const kernels::ProductUnit* machine_matrix_unit(bool of_int8);

/// Prepares the thread for products of a unit: a matrix unit's tiles are configured by the constructor and released by
/// the destructor, so that other users of the unit in the process never see this configuration.
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

/// Inside a `UnitSession` on the same thread, for code that is not the engine's: it may use the unit for itself.
class UnitPause {
 public:
  explicit UnitPause(const Arithmetic& arithmetic) : unit_(arithmetic.unit) {
    if (unit_ != nullptr && unit_->end != nullptr) unit_->end();
  }
  ~UnitPause() {
    if (unit_ != nullptr && unit_->begin != nullptr) unit_->begin();
  }
  UnitPause(const UnitPause&) = delete;
  UnitPause& operator=(const UnitPause&) = delete;

 private:
  const kernels::ProductUnit* unit_;
};

}  // namespace lstmcore
