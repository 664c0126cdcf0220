# liblstmcore_c, the C interface as a shared library. Of the engine it holds what these functions need, and it exports
# nothing but them. It has a name of its own, so that -llstmcore always means the library of C++.
file(STRINGS cpp/include/lstmcore/lstmcore.h LSTMCORE_ABI_LINE REGEX "define LSTMCORE_ABI_VERSION")
string(REGEX REPLACE ".* ([0-9]+)$" "\\1" LSTMCORE_ABI_VERSION "${LSTMCORE_ABI_LINE}")

file(GLOB LSTMCORE_C_SOURCES CONFIGURE_DEPENDS cpp/src/c/*.cpp)
add_library(lstmcore_c SHARED ${LSTMCORE_C_SOURCES})
add_library(lstmcore::lstmcore_c ALIAS lstmcore_c)
target_link_libraries(lstmcore_c PRIVATE lstmcore)
target_compile_definitions(lstmcore_c PRIVATE LSTMCORE_BUILDS_SHARED INTERFACE LSTMCORE_SHARED)
target_compile_options(lstmcore_c PRIVATE ${LSTMCORE_CXX_OPTIONS})
target_include_directories(lstmcore_c PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/cpp/include>)
set_target_properties(lstmcore_c PROPERTIES CXX_EXTENSIONS OFF CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
                                            SOVERSION ${LSTMCORE_ABI_VERSION} UNITY_BUILD ${LSTMCORE_UNITY}
                                            UNITY_BUILD_BATCH_SIZE 0)
if(UNIX AND NOT APPLE)
  # Templates of the C++ library are not hidden, whatever the options.
  set(LSTMCORE_C_MAP ${PROJECT_SOURCE_DIR}/cpp/cmake/lstmcore_c.map)
  target_link_options(lstmcore_c PRIVATE -Wl,--version-script=${LSTMCORE_C_MAP})
  set_target_properties(lstmcore_c PROPERTIES LINK_DEPENDS ${LSTMCORE_C_MAP})
endif()
