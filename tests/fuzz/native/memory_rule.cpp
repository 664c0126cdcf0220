#include "memory_rule.hpp"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <unordered_map>

// Of the sanitizers' allocators; not every compiler has the header.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*allocated)(const volatile void*, std::size_t),
                                                         void (*freed)(const volatile void*));

namespace fuzz {
namespace {

constexpr std::size_t times = 4;

/// What the input holds: blocks from before it do not count, not even when it frees them.
struct Held {
  std::mutex mutex;
  std::unordered_map<const volatile void*, std::size_t> blocks;
  std::size_t bytes = 0;
  std::size_t most = 0;
};

std::atomic<bool> counting{false};
thread_local bool inside = false;  // the map allocates, too

Held& held() {
  static Held* const only = new Held;  // outlives all that is freed at the end of the program
  return *only;
}

/// Alone with what is held, and not counting what that allocates itself.
class Entered {
 public:
  Entered() {
    inside = true;
    held().mutex.lock();
  }
  ~Entered() {
    held().mutex.unlock();
    inside = false;
  }
  Entered(const Entered&) = delete;
  Entered& operator=(const Entered&) = delete;
};

void allocated(const volatile void* block, std::size_t bytes) {
  if (!counting || inside) return;
  bool broken = false;
  {
    const Entered entered;
    held().blocks[block] = bytes;
    held().bytes += bytes;
    broken = held().bytes > held().most;
  }
  if (!broken) return;
  counting = false;  // saving the input allocates
  std::fprintf(stderr, "an input breaks the rule for memory: it holds %zu bytes, and may hold %zu\n", held().bytes,
               held().most);
  std::abort();
}

void freed(const volatile void* block) {
  if (!counting || inside) return;
  const Entered entered;
  const auto found = held().blocks.find(block);
  if (found == held().blocks.end()) return;
  held().bytes -= found->second;
  held().blocks.erase(found);
}

}  // namespace

MemoryRule::MemoryRule(std::size_t size) {
  static const int installed = __sanitizer_install_malloc_and_free_hooks(allocated, freed);
  if (installed == 0) std::abort();
  const Entered entered;
  held().blocks.clear();
  held().bytes = 0;
  held().most = times * size + memory_room;
  counting = true;
}

MemoryRule::~MemoryRule() { counting = false; }

bool has_room(std::size_t bytes) {
  if (!counting || inside) return true;
  const Entered entered;
  return bytes <= held().most && held().bytes <= held().most - bytes;
}

}  // namespace fuzz
