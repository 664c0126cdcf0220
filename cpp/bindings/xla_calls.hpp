// Calls from XLA's programs that C++ computes without Python, and so without waiting for the GIL, which the program's
// main thread may hold for milliseconds: the forward that records a tape, and its backward.
#pragma once

#include <array>
#include <atomic>
#include <lstmcore/lstm.hpp>
#include <string>
#include <vector>

#include "tape.hpp"
#include "tape_store.hpp"
#include "xla_interface.hpp"

namespace lstmcore::bindings {

using TapeStore = StoreOf<PyTape>;

namespace xla {

/// The operands of an LSTM, in the order in which a call has those that it has.
enum Name { x, w_ih, w_hh, b, h0, c0, mask, lengths, name_count };

/// What a compiled program says about a call besides its arrays.
class Plan {
 public:
  /// The sizes in `config` are not used: the arrays have them. Throws std::invalid_argument for an unknown name.
  Plan(const LstmConfig& config, const std::vector<std::string>& operands, const std::vector<std::string>& wanted,
       bool time_major, bool sequences);

  /// The configuration for arrays of these sizes.
  LstmConfig config(std::int64_t features, std::int64_t units) const;
  /// The buffer of an operand, or null.
  const Buffer* operand(const Frame& frame, Name name) const;
  /// The buffer for the gradient with respect to an operand, or null.
  const Buffer* gradient(const Frame& frame, Name name) const;
  /// The buffers that follow the operands.
  const Buffer& after_operands(const Frame& frame, std::int64_t index) const;

  bool time_major() const { return time_major_; }
  bool sequences() const { return sequences_; }
  std::int64_t operand_count() const { return operand_count_; }

  std::atomic<bool> allowed{true};     ///< false: Python computes all calls
  std::atomic<std::int64_t> count{0};  ///< forwards that were computed without Python

 private:
  LstmConfig config_;
  std::array<int, name_count> operands_{}, wanted_{};  ///< places among operands and results, or -1
  std::int64_t operand_count_;
  bool time_major_, sequences_;
};

/// Compute a call. They return false, without having done anything, if Python must do it: arrays with axes of
/// `jax.vmap`, or without elements, or a tape that is no longer stored.
bool record(Plan& plan, TapeStore& tapes, const Frame& frame);
bool backward(Plan& plan, TapeStore& tapes, const Frame& frame);

}  // namespace xla
}  // namespace lstmcore::bindings
