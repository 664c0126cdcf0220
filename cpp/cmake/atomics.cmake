# LSTMCORE_ATOMIC: the library of atomic operations, where the processor lacks some and the compiler calls it: RISC-V
# exchanges words but no bytes, and some processors of 32 bits have none of 64.
include(CheckCXXSourceCompiles)
include(CMakePushCheckState)

cmake_push_check_state(RESET)
set(CMAKE_REQUIRED_FLAGS "${CMAKE_CXX17_STANDARD_COMPILE_OPTION}")
set(LSTMCORE_ATOMIC_USE "
  #include <atomic>
  std::atomic<bool> flag(false);
  std::atomic<long long> count(0);
  int main() { return flag.exchange(true) || count.exchange(1) != 0 ? 1 : 0; }")
set(LSTMCORE_ATOMIC "")
check_cxx_source_compiles("${LSTMCORE_ATOMIC_USE}" LSTMCORE_ATOMIC_BUILT_IN)
if(NOT LSTMCORE_ATOMIC_BUILT_IN)
  set(CMAKE_REQUIRED_LIBRARIES atomic)
  check_cxx_source_compiles("${LSTMCORE_ATOMIC_USE}" LSTMCORE_ATOMIC_IN_LIBRARY)
  if(LSTMCORE_ATOMIC_IN_LIBRARY)
    set(LSTMCORE_ATOMIC atomic)
  endif()
endif()
cmake_pop_check_state()
