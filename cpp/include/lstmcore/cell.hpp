// Single steps of one LSTM layer whose caller owns everything: inputs, outputs and what the backward needs. For
// frameworks that differentiate a loop over a cell step by step, in whatever order their graph says.
//
// Letters as in lstm.hpp: N batch, C input features, H hidden units; V elements of a vector, Hp = H rounded up to whole
// vectors. All matrices are contiguous and row-major.
#pragma once

#include <cstddef>
#include <cstdint>
#include <lstmcore/fingerprint.hpp>
#include <lstmcore/lstm.hpp>
#include <vector>

namespace lstmcore {

/// A step whose share of the weights' gradients is to be summed.
template <class T>
struct LstmCellStep {
  std::int64_t batch = 0;
  const T* x = nullptr;       ///< (N, C), what the forward read
  const T* h = nullptr;       ///< (N, H), likewise
  const T* dgates = nullptr;  ///< (N, gradient_width()), what the backward wrote
};

/// Memory that weights were packed from, and the fingerprint of what was packed.
struct WatchedMemory {
  const void* memory = nullptr;
  Fingerprint fingerprint;
};

/// The steps of an Lstm of one layer with a plain cell. Immutable, so any number of threads may call it at once. The
/// functions have the same bits as the whole-sequence call with T = 1; no pointer is checked.
template <class T>
class LstmCell {
 public:
  /// Whether a configuration has only what these functions compute: one layer and direction, walked forwards, without
  /// variants of the cell.
  static bool serves(const LstmConfig& config);

  /// `watched`: read at each forward, which notices weights that have changed since they were packed. Throws
  /// std::invalid_argument if `serves` is false or the products are not those of T itself.
  explicit LstmCell(const Lstm<T>& lstm, std::vector<WatchedMemory> watched = {});

  const LstmConfig& config() const { return lstm_.config(); }
  /// Elements of a row of a tape: the activations of the gates, and c before and after the step.
  std::int64_t tape_width() const;
  /// Elements of a row of gradients with respect to the pre-activations of the gates.
  std::int64_t gradient_width() const;

  /// Computes the state after the step from x (N, C), h and c (N, H); without a `tape` nothing is stored for a
  /// backward. Outputs must not overlap inputs. Returns false if the watched memory has changed; what was written is
  /// then undefined. If each call of a loop sets `turn` to the opposite of the last, more of the weights come from a
  /// cache: what the call before read last is read first.
  bool forward(std::int64_t batch, const T* x, const T* h, const T* c, T* h_after, T* c_after, T* tape,
               bool turn = false) const;

  /// Computes, from the gradients with respect to the state after a step, those with respect to the pre-activations of
  /// its gates, to x, h and c. `dh` and `dc` may be null, for zeros; `dx`, `dh_before` and `dc_before`, if not wanted.
  /// The tape may be used again.
  void backward(std::int64_t batch, const T* tape, const T* dh, const T* dc, T* dgates, T* dx, T* dh_before,
                T* dc_before) const;

  /// The gradients with respect to the weights, summed over many steps in this order; absent views are not computed.
  /// One sum over all steps reads and writes each gradient once, where a sum for each step would do so every time.
  void weight_gradients(const std::vector<LstmCellStep<T>>& steps, const LstmCellWeights<T>& gradients) const;

 private:
  Lstm<T> lstm_;
  std::vector<WatchedMemory> watched_;
};

extern template class LstmCell<float>;
extern template class LstmCell<double>;

}  // namespace lstmcore
