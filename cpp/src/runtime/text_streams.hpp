// Numbers to and from text.
#pragma once

#include <ios>
#include <locale>

namespace lstmcore {

/// Makes a stream read and write numbers the same way in every locale, and throw std::bad_alloc if there is too little
/// memory. A stream on its own would catch that and go on, with a number of 0 or half a text.
inline void make_strict(std::ios& stream) {
  stream.imbue(std::locale::classic());
  stream.exceptions(std::ios::badbit);
}

}  // namespace lstmcore
