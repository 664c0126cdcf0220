# The Python module lstmcore._core.
set(PYBIND11_FINDPYTHON ON)
find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
execute_process(COMMAND ${Python_EXECUTABLE} -m pybind11 --cmakedir OUTPUT_VARIABLE LSTMCORE_PYBIND11_DIR
                OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
find_package(pybind11 CONFIG REQUIRED HINTS ${LSTMCORE_PYBIND11_DIR})

file(GLOB LSTMCORE_BINDINGS CONFIGURE_DEPENDS cpp/bindings/*.cpp)
pybind11_add_module(_core MODULE NO_EXTRAS ${LSTMCORE_BINDINGS})
target_link_libraries(_core PRIVATE lstmcore)
target_compile_options(_core PRIVATE ${LSTMCORE_CXX_OPTIONS})
# As one unit: pybind11's headers and templates take longer than all that is compiled with them.
set_target_properties(_core PROPERTIES CXX_EXTENSIONS OFF CXX_VISIBILITY_PRESET hidden UNITY_BUILD ${LSTMCORE_UNITY}
                                       UNITY_BUILD_BATCH_SIZE 0)
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND UNIX AND NOT APPLE)
  target_link_options(_core PRIVATE -s)
endif()
install(TARGETS _core LIBRARY DESTINATION lstmcore)
