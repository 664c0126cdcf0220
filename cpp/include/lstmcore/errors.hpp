// How the library reports errors. As it is built by default, it throws: std::invalid_argument for wrong arguments,
// std::runtime_error for files. A library built with LSTMCORE_EXCEPTIONS=OFF, for programs that are compiled with
// -fno-exceptions, calls the function that the program has set here, then ends the program.
//
// The macro LSTMCORE_NO_EXCEPTIONS is defined for whatever links such a library; without it, this header is empty.
#pragma once

#ifdef LSTMCORE_NO_EXCEPTIONS

namespace lstmcore {

/// Receives the text that an exception would have had. The program may report it, and leave for good: by a restart, a
/// longjmp to where nothing of the library is used any more, or std::exit.
using ErrorHandler = void (*)(const char* text);

/// The library calls `handler` once for an error; if it returns, or is null, the text goes to the standard error stream
/// and std::abort() ends the program. A handler that returns has the text printed after it. Returns the one that was
/// set before, initially null.
ErrorHandler set_error_handler(ErrorHandler handler) noexcept;

}  // namespace lstmcore

#endif
