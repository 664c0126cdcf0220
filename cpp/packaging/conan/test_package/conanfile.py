"""Builds and runs a program with the package."""

import os

from conan import ConanFile
from conan.tools.build import can_run
from conan.tools.cmake import CMake, cmake_layout


class LstmcoreTest(ConanFile):
    """The program that all other consumers build, too."""

    settings = "os", "arch", "compiler", "build_type"
    generators = "CMakeDeps", "CMakeToolchain"

    def requirements(self):
        """Use the package under test."""
        self.requires(self.tested_reference_str)

    def layout(self):
        """Build in a folder of its own."""
        cmake_layout(self)

    def build(self):
        """Build the program."""
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def test(self):
        """Run it."""
        if can_run(self):
            self.run(os.path.join(self.cpp.build.bindir, "consumer"), env="conanrun")
