// Runs every test, or those whose "file: name" contains one of the arguments.
#include <algorithm>
#include <cstdlib>
#include <lstmcore/cpu.hpp>
#include <string>
#include <vector>

#include "check.hpp"

namespace {

constexpr int skipped = 77;  // CTest's SKIP_RETURN_CODE

// True if LSTMCORE_ISA names an instruction set that exists but that this machine or build lacks.
bool instruction_set_is_missing() {
  const char* name = std::getenv("LSTMCORE_ISA");
  if (name == nullptr) return false;
  const std::vector<std::string> known = lstmcore::known_isas(), here = lstmcore::supported_isas();
  const auto holds = [name](const std::vector<std::string>& names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  return holds(known) && !holds(here);
}

std::string full_name(const check::Case& test) {
  const std::string path = test.file;
  const std::size_t start = path.find_last_of("/\\") + 1;
  return path.substr(start, path.rfind('.') - start) + ": " + test.name;
}

bool is_chosen(const std::string& name, int count, char** filters) {
  if (count <= 1) return true;
  return std::any_of(filters + 1, filters + count,
                     [&name](const char* filter) { return name.find(filter) != std::string::npos; });
}

bool passes(const check::Case& test, const std::string& name) {
  check::registry().failures = 0;
  try {
    test.run();
  } catch (const std::exception& error) {
    check::fail(test.file, 0, std::string("unexpected exception: ") + error.what());
  }
  const bool passed = check::registry().failures == 0;
  std::printf("%s %s\n", passed ? "ok    " : "FAILED", name.c_str());
  std::fflush(stdout);
  return passed;
}

}  // namespace

int main(int argc, char** argv) {
  if (instruction_set_is_missing()) {
    std::printf("skipped: this machine does not run LSTMCORE_ISA=%s\n", std::getenv("LSTMCORE_ISA"));
    return skipped;
  }
  int passed = 0, failed = 0;
  for (const check::Case& test : check::registry().cases) {
    const std::string name = full_name(test);
    if (is_chosen(name, argc, argv)) ++(passes(test, name) ? passed : failed);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 && passed > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
