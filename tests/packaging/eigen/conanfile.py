"""Eigen's headers as a Conan package, for tests: EIGEN_INCLUDE is where the headers are."""

import os

from conan import ConanFile
from conan.tools.files import copy


class Eigen(ConanFile):
    """Headers only."""

    name = "eigen"
    version = "3.4.0"
    package_type = "header-library"
    no_copy_source = True

    def package(self):
        """Copy the headers."""
        copy(self, "*", os.environ["EIGEN_INCLUDE"], os.path.join(self.package_folder, "include"))

    def package_info(self):
        """Use the names that Eigen's own package has."""
        self.cpp_info.bindirs = []
        self.cpp_info.libdirs = []
        self.cpp_info.set_property("cmake_file_name", "Eigen3")
        self.cpp_info.set_property("cmake_target_name", "Eigen3::Eigen")
