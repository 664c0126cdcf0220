// Structs of the caller's, whose size says which version of the header it was built with.
#pragma once

#include <lstmcore/lstmcore.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>

#include "status.hpp"

namespace lstmcore::c {

/// Bytes up to the end of a member.
#define LSTMCORE_SIZE_TO(type, member) (offsetof(type, member) + sizeof(type::member))

/// Sizes of the structs in the first header of ABI version 1. They stay as they are when members are added: programs
/// that were built with that header state them.
constexpr std::size_t first_model_info_size = LSTMCORE_SIZE_TO(lstmcore_model_info, can_stream);
constexpr std::size_t first_layer_info_size = LSTMCORE_SIZE_TO(lstmcore_layer_info, output_size);

/// No header will have a struct as large as this. A larger size comes from memory that was not initialized, and must
/// not be written to.
constexpr std::size_t most_struct_size = 4096;

/// Copies `filled` to the caller's struct of `to.struct_size` bytes. Members that a smaller one lacks are left out;
/// those of a newer header, which this library does not know, become zero. Throws if the size is none that a header has
/// had (below `first_size`) or will have.
template <class Info>
void give(Info& to, Info filled, std::size_t first_size) {
  const std::size_t size = to.struct_size;
  if (size < first_size || size > most_struct_size) {
    throw Failure(LSTMCORE_ERROR_SIZE, "info: expected struct_size to be at least " + std::to_string(first_size) +
                                           " and at most " + std::to_string(most_struct_size) + ", got " +
                                           std::to_string(size) + "; set it to sizeof of the struct");
  }
  filled.struct_size = size;
  auto* const bytes = reinterpret_cast<unsigned char*>(&to);
  const std::size_t known = std::min(size, sizeof(Info));
  std::memcpy(bytes, &filled, known);
  std::memset(bytes + known, 0, size - known);
}

}  // namespace lstmcore::c
