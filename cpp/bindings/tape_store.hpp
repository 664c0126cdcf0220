// Tapes between forwards and their backwards, for programs that connect the two by a number alone.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "fork_mutex.hpp"

namespace lstmcore::bindings {

/// Stores tapes by number, up to a number of tapes and of bytes: the oldest are released first. Any thread may use it,
/// and a forked child finds it whole.
template <class Tape>
class StoreOf {
 public:
  /// No two processes should count from the same `first_number`, so that a number which was saved in one process finds
  /// no tape of another.
  StoreOf(std::size_t most_tapes, std::size_t most_bytes, std::uint64_t first_number)
      : most_tapes_(most_tapes), most_bytes_(most_bytes), next_(first_number) {}

  /// Stores a tape, whatever its size, and returns its number.
  std::uint64_t put(std::shared_ptr<Tape> tape) {
    const std::size_t size = tape->bytes();
    std::vector<std::shared_ptr<Tape>> released;  // after the lock is, since freeing large tapes takes time
    const std::lock_guard<std::mutex> lock(mutex());
    const std::uint64_t number = next_++;
    stored_.emplace(number, Stored{std::move(tape), size});
    bytes_ += size;
    while (stored_.size() > most_tapes_ || (bytes_ > most_bytes_ && stored_.size() > 1)) {
      bytes_ -= stored_.begin()->second.bytes;
      released.push_back(std::move(stored_.begin()->second.tape));
      stored_.erase(stored_.begin());
    }
    return number;
  }

  /// The tape with this number, which is no longer stored; null if there is none.
  std::shared_ptr<Tape> take(std::uint64_t number) {
    const std::lock_guard<std::mutex> lock(mutex());
    const auto found = stored_.find(number);
    if (found == stored_.end()) return nullptr;
    std::shared_ptr<Tape> tape = std::move(found->second.tape);
    bytes_ -= found->second.bytes;
    stored_.erase(found);
    return tape;
  }

  void clear() {
    std::map<std::uint64_t, Stored> released;
    const std::lock_guard<std::mutex> lock(mutex());
    released.swap(stored_);
    bytes_ = 0;
  }

  /// How many tapes are stored, and their bytes.
  std::pair<std::size_t, std::size_t> stored() const {
    const std::lock_guard<std::mutex> lock(mutex());
    return {stored_.size(), bytes_};
  }

  std::size_t most_tapes() const { return locked(most_tapes_); }
  std::size_t most_bytes() const { return locked(most_bytes_); }
  void set_most_tapes(std::size_t count) { set(most_tapes_, count); }
  void set_most_bytes(std::size_t count) { set(most_bytes_, count); }

 private:
  struct Stored {
    std::shared_ptr<Tape> tape;
    std::size_t bytes;
  };

  std::size_t locked(const std::size_t& limit) const {
    const std::lock_guard<std::mutex> lock(mutex());
    return limit;
  }
  void set(std::size_t& limit, std::size_t count) {
    const std::lock_guard<std::mutex> lock(mutex());
    limit = count;
  }

  /// Of all stores: it is held for moments only.
  static std::mutex& mutex() { return fork_mutex<StoreOf>(); }

  std::size_t most_tapes_, most_bytes_;
  std::uint64_t next_;
  std::map<std::uint64_t, Stored> stored_;  ///< by number, so the oldest is the first
  std::size_t bytes_ = 0;
};

}  // namespace lstmcore::bindings
