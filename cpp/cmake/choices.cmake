# Refuses options of the build that contradict each other or name what does not exist.
if(NOT LSTMCORE_EXCEPTIONS AND (LSTMCORE_PYTHON OR LSTMCORE_TESTS))
  message(FATAL_ERROR "lstmcore: LSTMCORE_EXCEPTIONS=OFF excludes LSTMCORE_PYTHON and LSTMCORE_TESTS, which rely on exceptions")
endif()

if(NOT LSTMCORE_EXCEPTIONS AND LSTMCORE_SHARED)
  message(FATAL_ERROR "lstmcore: LSTMCORE_EXCEPTIONS=OFF excludes LSTMCORE_SHARED: the C interface turns exceptions into statuses")
endif()

if(LSTMCORE_PYTHON AND LSTMCORE_SHARED)
  message(FATAL_ERROR "lstmcore: LSTMCORE_PYTHON=ON excludes LSTMCORE_SHARED: a Python package holds the module alone")
endif()

set(LSTMCORE_KNOWN_KERNELS baseline avx2 avx512)
foreach(isa IN LISTS LSTMCORE_KERNELS)
  if(NOT isa IN_LIST LSTMCORE_KNOWN_KERNELS)
    message(FATAL_ERROR "lstmcore: LSTMCORE_KERNELS: expected some of ${LSTMCORE_KNOWN_KERNELS}, got \"${isa}\"")
  endif()
endforeach()
if(NOT baseline IN_LIST LSTMCORE_KERNELS)
  message(FATAL_ERROR "lstmcore: LSTMCORE_KERNELS: expected baseline, which runs on every machine, among \"${LSTMCORE_KERNELS}\"")
endif()

# A language that a subdirectory enables is not there in the folder above it, where CMake would only say "No known features
# for CXX compiler" of a target that links the static library.
if(NOT LSTMCORE_HOST_HAS_CXX)
  set(LSTMCORE_HOST_HINT "for lstmcore::lstmcore, add CXX to the LANGUAGES of the project that adds lstmcore")
  if(LSTMCORE_SHARED)
    message(STATUS "lstmcore: the project has no C++: link lstmcore::lstmcore_c; ${LSTMCORE_HOST_HINT}")
  else()
    message(WARNING "lstmcore: the project has no C++, and there is no lstmcore::lstmcore_c, which needs none, without "
                    "LSTMCORE_SHARED; ${LSTMCORE_HOST_HINT}")
  endif()
endif()
