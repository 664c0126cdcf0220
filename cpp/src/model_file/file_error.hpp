// How the readers of files say what is wrong with one.
#pragma once

#include <stdexcept>
#include <string>

namespace lstmcore {

/// Not `fail`, which says that an argument is wrong and throws std::invalid_argument.
[[noreturn]] inline void fail_reading(const std::string& what) { throw std::runtime_error(what); }

}  // namespace lstmcore
