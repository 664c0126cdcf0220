// Changes the JSON of captures: words, numbers, objects and lists are exchanged, so that most inputs remain JSON.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "json_text.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

const std::vector<std::string> tokens = {
    "\"\"",         "\"tanh\"", "\"softmax\"", "\"dense\"",    "\"lstm\"",   "\"activation\"", "\"LSTM\"",
    "\"0.5.4\"",    "65536",    "65537",       "architecture", "state_dict", "model_data",     "in_shape",
    "weight_ih_l0", "in_gain",  "1e300",       "weight_ih_l1", "in_skip",    "3.5e38",         "samplerate"};

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  fuzz::Random random(seed);
  std::string text(reinterpret_cast<const char*>(data), size);
  for (std::size_t count = 1 + fuzz::below(random, 3); count > 0; --count) {
    const std::size_t kind = fuzz::below(random, 8);
    if (kind == 0) fuzz::json_text::change_bytes(text, random, max_size);
    if (kind >= 1 && kind <= 4) fuzz::json_text::change_group(text, random);
    if (kind > 4) fuzz::json_text::change_word(text, tokens, random);
  }
  if (text.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::copy(text.begin(), text.end(), reinterpret_cast<char*>(data));
  return text.size();
}
