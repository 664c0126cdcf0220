// Tapes by number, and children that are forked while another thread uses the store.
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#if defined(__unix__) || defined(__APPLE__)
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "../bindings/tape_store.hpp"
#include "check.hpp"

namespace {

struct Tape {
  std::size_t size;
  std::size_t bytes() const { return size; }
};
using Store = lstmcore::bindings::StoreOf<Tape>;

std::shared_ptr<Tape> tape(std::size_t size) { return std::make_shared<Tape>(Tape{size}); }

}  // namespace

TEST("the oldest tapes are released first, and a tape is taken once") {
  Store store(3, 100, 7);
  CHECK_EQUAL(store.put(tape(10)), std::uint64_t{7});
  for (int k = 0; k < 3; ++k) store.put(tape(20));
  CHECK(store.stored() == std::make_pair(std::size_t{3}, std::size_t{60}));
  CHECK(store.take(7) == nullptr);
  CHECK_EQUAL(store.take(8)->size, std::size_t{20});
  CHECK(store.take(8) == nullptr);
  store.put(tape(200));  // stored whatever its size, alone
  CHECK(store.stored() == std::make_pair(std::size_t{1}, std::size_t{200}));
  store.clear();
  CHECK(store.stored() == std::make_pair(std::size_t{0}, std::size_t{0}));
}

// The thread sanitizer does not follow children of programs with several threads.
#if (defined(__unix__) || defined(__APPLE__)) && !defined(__SANITIZE_THREAD__)
TEST("a child that is forked while another thread uses the store can use it") {
  Store store(64, 1 << 20, 0);
  std::atomic<bool> ended{false};
  std::thread other([&] {
    while (!ended) store.take(store.put(tape(1)));
  });
  int hung = 0;
  for (int round = 0; round < 200 && hung == 0; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(60);  // ends a child that waits for ever
      const std::uint64_t number = store.put(tape(1));
      _exit(store.take(number) != nullptr ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(!WIFEXITED(status) || WEXITSTATUS(status) == 0);
    if (WIFSIGNALED(status)) ++hung;
  }
  ended = true;
  other.join();
  CHECK_EQUAL(hung, 0);
}
#endif
