// XLA's interface for foreign functions, the part of it that is needed.
//
// XLA calls foreign functions through a C interface whose compatibility it promises (the typed FFI, xla/ffi/api/c_api.h
// in jaxlib's `include` folder). The structures here mirror it, so that lstmcore is built without JAX.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lstmcore::bindings::xla {

struct Extension {
  std::size_t struct_size;
  int type;
  Extension* next;
};

struct Version {
  std::size_t struct_size;
  Extension* extension_start;
  int major_version, minor_version;
};

struct Metadata {
  std::size_t struct_size;
  Version version;
};

struct MetadataExtension {
  Extension base;
  Metadata* metadata;
};

struct ErrorArguments {
  std::size_t struct_size;
  Extension* extension_start;
  const char* message;
  int code;
};

struct Api {
  std::size_t struct_size;
  Extension* extension_start;
  Version version;
  void* internal_api;
  void* (*create_error)(ErrorArguments*);
};

struct Buffer {
  std::size_t struct_size;
  Extension* extension_start;
  int type;
  void* data;
  std::int64_t rank;
  const std::int64_t* extents;
};

/// Operands or results.
struct Buffers {
  std::size_t struct_size;
  Extension* extension_start;
  std::int64_t size;
  const int* types;
  const Buffer* const* places;
};

struct Text {
  const char* start;
  std::size_t size;
};

/// Constants of a call; here a single one, a text.
struct Attributes {
  std::size_t struct_size;
  Extension* extension_start;
  std::int64_t size;
  const int* types;
  const Text* const* names;
  const Text* const* values;
};

/// All of a call.
struct Frame {
  std::size_t struct_size;
  Extension* extension_start;
  const Api* api;
  void* context;
  int stage;
  Buffers operands, results;
  Attributes attributes;
};

/// Numbers of data types.
enum DataType {
  of_bool = 1,
  of_int8 = 2,
  of_int16 = 3,
  of_int32 = 4,
  of_int64 = 5,
  of_uint8 = 6,
  of_uint16 = 7,
  of_uint32 = 8,
  of_uint64 = 9,
  of_float = 11,
  of_double = 12
};

/// The version of the interface that these structures are written for.
constexpr int interface_major = 0, interface_minor = 1;
constexpr int metadata_extension = 1;  ///< a question about the function instead of a call
enum ErrorCode { invalid_argument = 3, resource_exhausted = 8, internal = 13 };

}  // namespace lstmcore::bindings::xla
