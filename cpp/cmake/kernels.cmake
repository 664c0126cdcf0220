# One object library per instruction set, from the same sources. Eigen's namespace is renamed after it, so that no template
# compiled for one set can be merged with another's or with a host program's own Eigen.
#
# What the compiler builds for, which in a cross build is not what it runs on.
include(CheckCXXSourceCompiles)
check_cxx_source_compiles("
  #if !defined(__x86_64__) && !defined(_M_X64)
  #error other
  #endif
  int main() { return 0; }" LSTMCORE_X86)
if(MINGW AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # On Windows, GCC aligns the stack to 16 bytes, even where it stores AVX registers there (its bug 54412): baseline only.
  set(LSTMCORE_X86 OFF)
endif()
check_cxx_source_compiles("
  #if !defined(__aarch64__)
  #error other
  #endif
  int main() { return 0; }" LSTMCORE_ARM64)

# Makes the objects of one library part of another, or, if that is one of objects too, of what links it.
function(lstmcore_add_objects library objects)
  get_target_property(type ${library} TYPE)
  if(type STREQUAL "OBJECT_LIBRARY")
    target_link_libraries(${library} INTERFACE $<TARGET_OBJECTS:${objects}>)
  else()
    target_sources(${library} PRIVATE $<TARGET_OBJECTS:${objects}>)
  endif()
endfunction()

# `flags` is one argument, with spaces between the flags. Optional arguments after it are the sources, of the kernels'
# folder. In a group they share what Eigen's headers take, a second for each.
function(lstmcore_add_kernels isa flags)
  set(objects lstmcore_kernels_${isa})
  separate_arguments(flags)
  set(sources products.cpp elementwise.cpp tangent.cpp kernels.cpp)
  if(ARGC GREATER 2)
    set(sources ${ARGN})
  endif()
  list(TRANSFORM sources PREPEND ${PROJECT_SOURCE_DIR}/cpp/src/kernels/)
  add_library(${objects} OBJECT ${sources})
  target_compile_features(${objects} PRIVATE cxx_std_17)
  target_compile_definitions(${objects} PRIVATE LSTMCORE_ISA=${isa} Eigen=lstmcore_eigen_${isa} EIGEN_NO_DEBUG
                                                EIGEN_DONT_PARALLELIZE EIGEN_NO_IO)
  target_compile_options(${objects} PRIVATE ${flags} ${LSTMCORE_CXX_OPTIONS})
  if(NOT MSVC)
    # The same bits for the same element wherever it stands: the compiler must not fuse a*b + c in one place only.
    target_compile_options(${objects} PRIVATE -ffp-contract=off -fno-math-errno -fno-exceptions -fno-rtti)
    if(NOT LSTMCORE_SANITIZE)  # with sanitizers, unrolled tiles take minutes to compile
      target_compile_options(${objects} PRIVATE $<$<NOT:$<CONFIG:Debug>>:-O3>)
    endif()
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # GCC's own AVX-512 headers leave operands undefined on purpose and warn about it; a vector type as a template's
      # argument loses its may_alias attribute, which registers do not need.
      target_compile_options(${objects} PRIVATE -Wno-maybe-uninitialized -Wno-uninitialized -Wno-ignored-attributes)
    endif()
    if(MINGW AND CMAKE_CXX_COMPILER_ID MATCHES "Clang")
      # Clang claims an ABI of GCC 4 in which vectors of all sizes have one name. Eigen then wraps them on MinGW, and its
      # AVX-512 does not compile; but Clang's names are those of today's ABI.
      target_compile_options(${objects} PRIVATE -Wno-builtin-macro-redefined -U__GXX_ABI_VERSION -D__GXX_ABI_VERSION=1016)
    endif()
  endif()
  target_include_directories(${objects} SYSTEM PRIVATE ${LSTMCORE_EIGEN_INCLUDE})
  target_include_directories(${objects} PRIVATE ${PROJECT_SOURCE_DIR}/cpp/include ${PROJECT_SOURCE_DIR}/cpp/src/kernels)
  set_target_properties(${objects} PROPERTIES CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON
                                              INTERPROCEDURAL_OPTIMIZATION OFF CXX_VISIBILITY_PRESET hidden
                                              UNITY_BUILD ${LSTMCORE_UNITY} UNITY_BUILD_BATCH_SIZE 0)
  set_property(GLOBAL APPEND PROPERTY LSTMCORE_OBJECTS ${objects})
endfunction()

# The kernels of one instruction set, if they are among LSTMCORE_KERNELS: defines `definition` for the library.
function(lstmcore_add_chosen isa definition flags flags_of_msvc)
  if(NOT isa IN_LIST LSTMCORE_KERNELS)
    return()
  endif()
  if(MSVC)
    set(flags ${flags_of_msvc})
  endif()
  lstmcore_add_kernels(${isa} ${flags})
  set_property(GLOBAL APPEND PROPERTY LSTMCORE_DEFINITIONS ${definition})
endfunction()

# A unit for products of numbers smaller than float, where the compiler knows its instructions: defines `definition` for
# the library.
function(lstmcore_add_unit unit definition flags test)
  set(CMAKE_REQUIRED_FLAGS "${flags}")
  check_cxx_source_compiles("${test}" ${definition})
  if(${definition})
    lstmcore_add_kernels(${unit} "${flags}" lowp/units/${unit}.cpp)
    set_property(GLOBAL APPEND PROPERTY LSTMCORE_DEFINITIONS ${definition})
  endif()
endfunction()
