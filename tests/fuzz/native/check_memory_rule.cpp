// Breaks the rule for memory in every way that the targets must notice; make fuzz runs it before them.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "memory_rule.hpp"

namespace {

constexpr std::size_t block = std::size_t{1} << 20, input = 1000;

/// Compilers may leave out allocations that nobody looks at.
char* volatile seen = nullptr;

std::unique_ptr<char[]> allocated(std::size_t bytes) {
  std::unique_ptr<char[]> made(new char[bytes]);
  seen = made.get();
  return made;
}

void hold(std::size_t blocks) {
  std::vector<std::unique_ptr<char[]>> all;
  for (std::size_t k = 0; k < blocks; ++k) all.push_back(allocated(block));
}

void hold_from_malloc(std::size_t blocks) {
  std::vector<void*> all(blocks);
  for (void*& each : all) each = std::malloc(block);
  for (void* const each : all) std::free(each);
}

void hold_in_turn(std::size_t blocks) {
  for (std::size_t k = 0; k < blocks; ++k) allocated(block);
}

/// Whether an input that does this ends the program.
bool ends(void (*what)(std::size_t), std::size_t blocks) {
  const pid_t child = fork();
  if (child == 0) {
    if (std::freopen("/dev/null", "w", stderr) == nullptr) std::_Exit(2);
    const fuzz::MemoryRule rule(input);
    what(blocks);
    std::_Exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "the rule for memory: %s\n", what);
  std::exit(1);
}

}  // namespace

int main() {
  require(ends(hold, 65), "65 MiB held in small blocks are not noticed");
  require(ends(hold_from_malloc, 65), "65 MiB from malloc are not noticed");
  require(!ends(hold, 63), "63 MiB are refused");
  require(!ends(hold_in_turn, 500), "memory that was freed counts");
  const std::unique_ptr<char[]> before = allocated(100 * block);
  require(!ends(hold, 63), "memory from before the input counts");
  {
    const fuzz::MemoryRule rule(input);
    require(fuzz::has_room(60 * block), "there is no room at the start");
    const std::unique_ptr<char[]> held = allocated(60 * block);
    require(!fuzz::has_room(5 * block), "there is room beyond the rule");
  }
  require(fuzz::has_room(500 * block), "the rule holds between inputs");
  return 0;
}
