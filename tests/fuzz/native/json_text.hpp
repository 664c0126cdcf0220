// Changes a JSON text so that it mostly remains one.
#pragma once

#include <cstddef>
#include <random>
#include <string>
#include <vector>

namespace fuzz {

using Random = std::mt19937;

/// A number from 0 to `count` - 1; 0 if `count` is 0.
inline std::size_t below(Random& random, std::size_t count) { return count == 0 ? 0 : random() % count; }

namespace json_text {

/// Puts a number, a name or one of true, false and null in the place of another one: one of the text itself, one
/// that is worth trying anywhere, or one of `tokens`.
void change_word(std::string& text, const std::vector<std::string>& tokens, Random& random);

/// Exchanges, repeats, removes or encloses an object or a list.
void change_group(std::string& text, Random& random);

/// Changes some bytes; the text grows to at most `max_size`.
void change_bytes(std::string& text, Random& random, std::size_t max_size);

}  // namespace json_text
}  // namespace fuzz
