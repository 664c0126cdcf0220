# What `cmake --install` puts in place: headers, the library and a package that find_package(lstmcore) finds.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(LSTMCORE_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/lstmcore)

set(LSTMCORE_HEADERS PATTERN "*.hpp")
if(LSTMCORE_EXCEPTIONS)
  list(APPEND LSTMCORE_HEADERS PATTERN "*.h")  # the C interface, which a library without exceptions lacks
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/cpp/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING ${LSTMCORE_HEADERS})
install(TARGETS lstmcore EXPORT lstmcore-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(TARGET lstmcore_c)
  install(TARGETS lstmcore_c EXPORT lstmcore-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
          INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endif()
install(EXPORT lstmcore-targets NAMESPACE lstmcore:: DESTINATION ${LSTMCORE_PACKAGE_DIR})
# From the build folder, too: projects that export theirs from there need it, and `lstmcore_DIR` may name it.
export(EXPORT lstmcore-targets NAMESPACE lstmcore:: FILE ${CMAKE_CURRENT_BINARY_DIR}/lstmcore-targets.cmake)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/licenses/lstmcore)

# What a linker that is not C++'s has to be told: the runtime of C++, as the compiler's driver adds it.
set(LSTMCORE_CXX_RUNTIME "${CMAKE_CXX_IMPLICIT_LINK_LIBRARIES}")
list(FILTER LSTMCORE_CXX_RUNTIME INCLUDE REGEX "^(stdc\\+\\+|c\\+\\+|c\\+\\+abi|m)$")
list(REMOVE_DUPLICATES LSTMCORE_CXX_RUNTIME)

configure_package_config_file(${PROJECT_SOURCE_DIR}/cpp/cmake/lstmcore-config.cmake.in lstmcore-config.cmake
                              INSTALL_DESTINATION ${LSTMCORE_PACKAGE_DIR})
# Before version 1, a new minor version may change the interface.
write_basic_package_version_file(lstmcore-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/lstmcore-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/lstmcore-config-version.cmake
        DESTINATION ${LSTMCORE_PACKAGE_DIR})

# For builds without CMake. Everything is relative to the file, so that an installation may be moved; what CMake was given
# as an absolute path stays so.
set(LSTMCORE_PC_DIR ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(LSTMCORE_PC_PREFIX ${CMAKE_INSTALL_PREFIX})
else()
  file(RELATIVE_PATH LSTMCORE_PC_UP /${LSTMCORE_PC_DIR} /)
  string(REGEX REPLACE "/$" "" LSTMCORE_PC_UP "${LSTMCORE_PC_UP}")
  set(LSTMCORE_PC_PREFIX "\${pcfiledir}/${LSTMCORE_PC_UP}")
endif()
foreach(kind LIBDIR INCLUDEDIR)
  if(IS_ABSOLUTE "${CMAKE_INSTALL_${kind}}")
    set(LSTMCORE_PC_${kind} ${CMAKE_INSTALL_${kind}})
  else()
    set(LSTMCORE_PC_${kind} "\${prefix}/${CMAKE_INSTALL_${kind}}")
  endif()
endforeach()
set(LSTMCORE_PC_LIBS "${CMAKE_THREAD_LIBS_INIT}")
foreach(library IN LISTS LSTMCORE_LIBRARIES)
  string(APPEND LSTMCORE_PC_LIBS " -l${library}")
endforeach()
list(TRANSFORM LSTMCORE_CXX_RUNTIME PREPEND -l OUTPUT_VARIABLE LSTMCORE_PC_LIBS_PRIVATE)
list(JOIN LSTMCORE_PC_LIBS_PRIVATE " " LSTMCORE_PC_LIBS_PRIVATE)
set(LSTMCORE_PC_CFLAGS "")
if(NOT LSTMCORE_EXCEPTIONS)
  set(LSTMCORE_PC_CFLAGS " -DLSTMCORE_NO_EXCEPTIONS")
endif()
configure_file(${PROJECT_SOURCE_DIR}/cpp/cmake/lstmcore.pc.in lstmcore.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/lstmcore.pc DESTINATION ${LSTMCORE_PC_DIR})
if(TARGET lstmcore_c)
  configure_file(${PROJECT_SOURCE_DIR}/cpp/cmake/lstmcore_c.pc.in lstmcore_c.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/lstmcore_c.pc DESTINATION ${LSTMCORE_PC_DIR})
endif()
