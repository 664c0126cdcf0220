# What `cmake --install` puts in place: headers, the library and a package that find_package(lstmcore) finds.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(LSTMCORE_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/lstmcore)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/cpp/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp" PATTERN "*.h")
install(TARGETS lstmcore EXPORT lstmcore-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
if(TARGET lstmcore_c)
  install(TARGETS lstmcore_c EXPORT lstmcore-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  file(RELATIVE_PATH LSTMCORE_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  configure_file(${PROJECT_SOURCE_DIR}/cpp/cmake/lstmcore_c.pc.in lstmcore_c.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/lstmcore_c.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()
install(EXPORT lstmcore-targets NAMESPACE lstmcore:: DESTINATION ${LSTMCORE_PACKAGE_DIR})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/licenses/lstmcore)

configure_package_config_file(${PROJECT_SOURCE_DIR}/cpp/cmake/lstmcore-config.cmake.in lstmcore-config.cmake
                              INSTALL_DESTINATION ${LSTMCORE_PACKAGE_DIR})
# Before version 1, a new minor version may change the interface.
write_basic_package_version_file(lstmcore-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/lstmcore-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/lstmcore-config-version.cmake
        DESTINATION ${LSTMCORE_PACKAGE_DIR})
