// Hands bytes to a reader that takes the path of a file, without touching the disk where the system allows it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace fuzz {

/// The path of a file with these bytes, which the next call overwrites.
const std::string& file_with(const std::uint8_t* data, std::size_t size);

}  // namespace fuzz
