// What comes from outside: paths, numbers and stored states.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace catchments {

/// A path from and to UTF-8, on every system and in every version of C++.
std::filesystem::path path_of(const std::string& text);
std::string text_of(const std::filesystem::path& path);

/// A number for messages, whatever the host's locale.
std::string text_of(double value);

/// Whether a number is finite as float, in which the model computes. What is not would stay in the state for ever.
bool finite_as_float(double value);

/// Throws std::runtime_error if the path is that of a folder.
void check_is_no_folder(const std::filesystem::path& path);

/// A state of `size` numbers. Throws std::runtime_error if the file cannot be read, has another size or a number that
/// is not finite, or is not a regular file.
std::vector<float> read_state(const std::string& path, std::size_t size);
/// Replaces the file at once, so that whatever ends the program leaves the old state or the new one. Until then, the
/// new one is in `path`.part, a name that is always the same, so that programs that are killed leave at most one such
/// file: two programs must not write to the same path. Throws std::runtime_error if the state cannot be written, or
/// the path is that of something else than a regular file.
void write_state(const std::string& path, const std::vector<float>& state);
/// Throws std::runtime_error if write_state would now; changes nothing that stays.
void check_can_be_written(const std::string& path);

}  // namespace catchments
