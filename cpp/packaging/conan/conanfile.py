"""Conan 2 recipe of the C++ library, for the source tree that it lies in."""

import re
from pathlib import Path

from conan import ConanFile
from conan.tools.build import check_min_cppstd, stdcpp_library
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.files import copy, rmdir

TOP = Path("..", "..", "..")


class Lstmcore(ConanFile):
    """The static library with its headers and readers of model files."""

    name = "lstmcore"
    description = "Fast, trustworthy LSTM training and inference on the CPU"
    license = "MIT"
    topics = ("lstm", "recurrent-neural-network", "simd", "audio", "time-series")
    package_type = "static-library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"openmp": [True, False], "exceptions": [True, False], "kernels": ["ANY"]}  # noqa: RUF012
    default_options = {  # noqa: RUF012
        "openmp": True,
        "exceptions": True,
        "kernels": "baseline;avx2;avx512",
    }

    def set_version(self):
        """Take the version from the header, its only home."""
        header = Path(self.recipe_folder, "..", "..", "include", "lstmcore", "version.hpp")
        found = re.search(r'#define LSTMCORE_VERSION "(.*)"', header.read_text(encoding="utf-8"))
        self.version = found[1]

    def export_sources(self):
        """Copy what the build reads."""
        top = Path(self.recipe_folder, TOP).resolve()
        for pattern in ("CMakeLists.txt", "LICENSE", "cpp/cmake/*", "cpp/include/*", "cpp/src/*"):
            copy(self, pattern, src=str(top), dst=self.export_sources_folder)

    def layout(self):
        """Build beside the sources."""
        cmake_layout(self)

    def requirements(self):
        """Eigen's headers are read by the build alone."""
        self.requires("eigen/[>=3.4 <4]", visible=False)

    def validate(self):
        """Refuse compilers that are set to an older C++."""
        if self.settings.get_safe("compiler.cppstd"):
            check_min_cppstd(self, 17)

    def generate(self):
        """Pass the options to CMake."""
        toolchain = CMakeToolchain(self)
        toolchain.cache_variables["LSTMCORE_INSTALL"] = True
        toolchain.cache_variables["LSTMCORE_SHARED"] = False
        toolchain.cache_variables["LSTMCORE_OPENMP"] = bool(self.options.openmp)
        toolchain.cache_variables["LSTMCORE_EXCEPTIONS"] = bool(self.options.exceptions)
        toolchain.cache_variables["LSTMCORE_KERNELS"] = str(self.options.kernels)
        toolchain.generate()
        CMakeDeps(self).generate()

    def build(self):
        """Build the library."""
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        """Install it; Conan describes it to build systems itself."""
        CMake(self).install()
        copy(self, "LICENSE", self.source_folder, str(Path(self.package_folder, "licenses")))
        for folder in ("cmake", "pkgconfig"):
            rmdir(self, str(Path(self.package_folder, "lib", folder)))
        rmdir(self, str(Path(self.package_folder, "share")))

    def package_info(self):
        """Say what links it."""
        self.cpp_info.libs = ["lstmcore"]
        self.cpp_info.set_property("cmake_file_name", "lstmcore")
        self.cpp_info.set_property("cmake_target_name", "lstmcore::lstmcore")
        self.cpp_info.set_property("pkg_config_name", "lstmcore")
        if self.settings.os in ("Linux", "FreeBSD"):
            self.cpp_info.system_libs = ["pthread", "dl", "m"]
            if str(self.settings.arch).startswith("riscv"):
                self.cpp_info.system_libs.append("atomic")
        if runtime := stdcpp_library(self):  # for programs in C
            self.cpp_info.system_libs.append(runtime)
        if not self.options.exceptions:
            self.cpp_info.defines = ["LSTMCORE_NO_EXCEPTIONS"]
