#include "safetensors.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "../runtime/errors.hpp"
#include "file_error.hpp"
#include "json.hpp"
#include "open_file.hpp"

namespace lstmcore::safetensors {
namespace {

using Kind = json::Value::Kind;

constexpr std::uint64_t length_bytes = 8;
constexpr std::uint64_t longest_header = 100'000'000;  // as in the format's own reader

std::string of_tensor(const std::string& name) { return "tensor " + in_quotes(name) + ": "; }

std::uint64_t size_of_type(const std::string& name, const std::string& dtype) {
  if (dtype == "F32") return 4;
  if (dtype == "F64") return 8;
  if (dtype == "I8") return 1;
  fail_reading(of_tensor(name) + "expected F32, F64 or I8, got " + shortened(dtype));
}

const json::Value& member(const std::string& name, const json::Value& tensor, const char* key, Kind kind) {
  const json::Value* const value = tensor.find(key);
  if (value == nullptr || !value->is(kind)) fail_reading(of_tensor(name) + "its header has no valid " + in_quotes(key));
  return *value;
}

// A list of integers of at least 0.
std::vector<std::int64_t> counts(const std::string& name, const json::Value& tensor, const char* key) {
  std::vector<std::int64_t> result;
  for (const json::Value& entry : member(name, tensor, key, Kind::array).array()) {
    if (!entry.is(Kind::integer) || entry.integer() < 0)
      fail_reading(of_tensor(name) + "its " + in_quotes(key) + " holds an invalid number");
    result.push_back(entry.integer());
  }
  return result;
}

std::uint64_t bytes_of(const std::string& name, const Tensor& tensor) {
  std::uint64_t size = size_of_type(name, tensor.dtype);
  if (std::find(tensor.shape.begin(), tensor.shape.end(), 0) != tensor.shape.end()) return 0;
  for (const std::int64_t extent : tensor.shape) {
    const auto factor = static_cast<std::uint64_t>(extent);
    if (size > std::numeric_limits<std::uint64_t>::max() / factor) fail_reading(of_tensor(name) + "its size overflows");
    size *= factor;
  }
  return size;
}

Tensor read_tensor(const std::string& name, const json::Value& header, std::uint64_t data_size) {
  if (!header.is(Kind::object) || header.object().size() != 3) {
    fail_reading(of_tensor(name) + "expected dtype, shape and data_offsets in its header");
  }
  Tensor tensor;
  tensor.dtype = member(name, header, "dtype", Kind::string).string();
  tensor.shape = counts(name, header, "shape");
  const std::vector<std::int64_t> offsets = counts(name, header, "data_offsets");
  if (offsets.size() != 2 || offsets[0] > offsets[1])
    fail_reading(of_tensor(name) + "expected data_offsets from begin to end");
  tensor.begin = static_cast<std::size_t>(offsets[0]);
  tensor.end = static_cast<std::size_t>(offsets[1]);
  if (tensor.end > data_size) {
    fail_reading(of_tensor(name) + "ends at byte " + std::to_string(tensor.end) + " of " + std::to_string(data_size));
  }
  const std::uint64_t expected = bytes_of(name, tensor);
  if (tensor.end - tensor.begin != expected) {
    fail_reading(of_tensor(name) + "expected " + std::to_string(expected) + " bytes for " + tensor.dtype +
                 " of shape " + shape_text(tensor.shape) + ", got " + std::to_string(tensor.end - tensor.begin));
  }
  return tensor;
}

void check_layout(const File& file, std::uint64_t data_size) {
  std::vector<std::pair<std::size_t, std::size_t>> ranges;
  for (const auto& [name, tensor] : file.tensors) ranges.emplace_back(tensor.begin, tensor.end);
  std::sort(ranges.begin(), ranges.end());
  std::size_t end = 0;
  for (const auto& [range_begin, range_end] : ranges) {
    if (range_begin < end) fail_reading("tensors overlap at byte " + std::to_string(range_begin));
    if (range_begin > end) fail_reading("bytes from " + std::to_string(end) + " on belong to no tensor");
    end = range_end;
  }
  if (end != data_size) fail_reading("bytes from " + std::to_string(end) + " on belong to no tensor");
}

void read_header(const std::string& text, std::uint64_t data_size, File& file) {
  const json::Value header = json::parse(text);
  if (text.empty() || text.front() != '{') fail_reading("expected a header that begins with '{'");
  for (const json::Member& entry : header.object()) {
    if (entry.name != "__metadata__") {
      file.tensors.emplace(entry.name, read_tensor(entry.name, entry.value, data_size));
      continue;
    }
    if (!entry.value.is(Kind::object)) fail_reading("expected an object as __metadata__");
    for (const json::Member& pair : entry.value.object()) {
      if (!pair.value.is(Kind::string))
        fail_reading("expected a string as " + in_quotes(pair.name) + " in __metadata__");
      file.metadata.emplace(pair.name, pair.value.string());
    }
  }
  check_layout(file, data_size);
}

std::uint64_t header_length(std::istream& stream, std::uint64_t size) {
  unsigned char bytes[length_bytes] = {};
  if (size < length_bytes) fail_reading("truncated: expected at least 8 bytes, got " + std::to_string(size));
  read_bytes(stream, reinterpret_cast<char*>(bytes), length_bytes);
  std::uint64_t length = 0;
  for (std::uint64_t k = length_bytes; k-- > 0;) length = length << 8 | bytes[k];
  if (length > longest_header)
    fail_reading("not a safetensors file: its header would have " + std::to_string(length) + " bytes");
  if (length > size - length_bytes) {
    fail_reading("truncated: its header has " + std::to_string(length) + " bytes, but only " +
                 std::to_string(size - length_bytes) + " follow");
  }
  return length;
}

}  // namespace

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "(";
  for (std::size_t axis = 0; axis < shape.size(); ++axis) text += (axis > 0 ? ", " : "") + std::to_string(shape[axis]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

File read(const std::filesystem::path& path) {
  OpenFile file = open_file(path);
  return read(file.stream, file.size);
}

File read(std::istream& stream, std::uint64_t size) {
  const std::uint64_t length = header_length(stream, size);
  const std::uint64_t data_size = size - length_bytes - length;
  std::string text(static_cast<std::size_t>(length), '\0');
  read_bytes(stream, text.data(), length);
  File file;
  rephrased<std::invalid_argument>([&] { read_header(text, data_size, file); },
                                   [](const std::string& error) { fail_reading("its header is not valid " + error); });
  file.data.resize(static_cast<std::size_t>(data_size));
  read_bytes(stream, reinterpret_cast<char*>(file.data.data()), data_size);
  return file;
}

}  // namespace lstmcore::safetensors
