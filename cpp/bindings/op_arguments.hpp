// Arguments that several operations around an LSTM share.
#pragma once

#include <lstmcore/ops.hpp>

#include "arrays.hpp"
#include "gil.hpp"

namespace lstmcore::bindings {

/// An array to read, or absent for None.
template <class T, int Rank>
Argument<const T, Rank> optional(const Reader<T>& reader, py::handle value, const char* name, const Axes<Rank>& axes) {
  if (value.is_none()) return {};
  return reader.template contiguous<Rank>(value, name, axes);
}

/// An array to write, or absent for None.
template <class T, int Rank>
Argument<T, Rank> optional_writable(const Reader<T>& reader, py::handle value, const char* name,
                                    const Axes<Rank>& axes) {
  if (value.is_none()) return {};
  return reader.template writable<Rank>(value, name, axes);
}

/// The valid steps of each sequence, or absent for None.
Argument<const std::int64_t, 1> optional_lengths(py::handle lengths, std::int64_t batch);

/// A number of time steps, at least 0.
std::int64_t to_steps(py::handle steps);

/// The activation with this name, and its name.
Activation activation_named(py::handle name);
const char* activation_name(Activation activation);

/// Windows of `size` steps; `size_name` is the argument that an error about the size names.
Windows to_windows(const char* size_name, std::int64_t size, py::handle strides, py::handle padding,
                   py::handle dilation_rate);

/// An option and its name in Python.
template <class Value>
struct Named {
  const char* name;
  Value value;
};

/// The option called `name`, or null.
template <class Value, std::size_t Count>
const Value* find_named(const Named<Value> (&options)[Count], const std::string& name) {
  for (const Named<Value>& option : options) {
    if (name == option.name) return &option.value;
  }
  return nullptr;
}

}  // namespace lstmcore::bindings
