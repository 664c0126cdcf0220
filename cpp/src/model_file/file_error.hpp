// The error of the readers of files.
#pragma once

#include <stdexcept>
#include <string>

namespace lstmcore {

/// For what is wrong with a file. (`fail`, of api/check.hpp, is for arguments and throws std::invalid_argument.)
[[noreturn]] inline void fail_reading(const std::string& what) { throw std::runtime_error(what); }

}  // namespace lstmcore
