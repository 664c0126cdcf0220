// The program around the target where the compiler has no libFuzzer: it changes files of a corpus at random, without
// knowing which code they reach. It takes the same options: -runs=N -max_total_time=SECONDS -seed=N -max_len=BYTES
// -timeout=SECONDS -artifact_prefix=PATH, then folders or files.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed);
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

using Input = std::vector<std::uint8_t>;

std::mt19937 bytes_random;
Input current;
std::string prefix;

void save_current() {
  const std::string path = prefix + "crash-" + std::to_string(std::random_device()());
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(current.data()), static_cast<std::streamsize>(current.size()));
  std::fprintf(stderr, "saved the input as %s\n", path.c_str());
}

void end_slow_input(int) {
  std::fprintf(stderr, "an input took longer than the timeout\n");
  save_current();
  std::_Exit(1);
}

void end_abort(int) {
  save_current();
  std::_Exit(1);
}

Input contents(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return Input(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
}

std::vector<Input> corpus(const std::vector<std::string>& paths) {
  std::vector<std::filesystem::path> files;
  for (const std::string& path : paths) {
    if (!std::filesystem::is_directory(path)) files.emplace_back(path);
    if (!std::filesystem::is_directory(path)) continue;
    for (const auto& entry : std::filesystem::directory_iterator(path)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<Input> found;
  for (const auto& file : files) found.push_back(contents(file));
  return found;
}

void run_one(const Input& input, unsigned timeout) {
  current = input;
#if defined(__unix__) || defined(__APPLE__)
  alarm(timeout);
#else
  (void)timeout;
#endif
  LLVMFuzzerTestOneInput(current.data(), current.size());
}

}  // namespace

/// Flips, sets, inserts, removes and copies bytes.
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size) {
  const auto below = [](std::size_t count) { return count == 0 ? 0 : bytes_random() % count; };
  if (size == 0) {
    if (max_size > 0) data[0] = static_cast<std::uint8_t>(bytes_random());
    return std::min<std::size_t>(1, max_size);
  }
  const std::size_t at = below(size), count = 1 + below(std::min<std::size_t>(size - at, 16));
  switch (bytes_random() % 5) {
    case 0:
      data[at] = static_cast<std::uint8_t>(data[at] ^ (1u << bytes_random() % 8));
      return size;
    case 1:
      data[at] = static_cast<std::uint8_t>(bytes_random());
      return size;
    case 2:
      if (size + count > max_size) return size;
      std::copy_backward(data + at, data + size, data + size + count);
      return size + count;
    case 3:
      if (size == count) return size;
      std::copy(data + at + count, data + size, data + at);
      return size - count;
    default:
      std::copy_n(data + at, count, data + below(size - count + 1));
      return size;
  }
}

int main(int argc, char** argv) {
  std::map<std::string, std::string> options = {{"-runs", "0"},     {"-max_total_time", "0"},
                                                {"-seed", "0"},     {"-max_len", "65536"},
                                                {"-timeout", "10"}, {"-artifact_prefix", ""}};
  std::vector<std::string> paths;
  for (int k = 1; k < argc; ++k) {
    const std::string argument = argv[k];
    const std::size_t equals = argument.find('=');
    if (argument[0] != '-') paths.push_back(argument);
    if (argument[0] == '-')
      options[argument.substr(0, equals)] = argument.substr(std::min(equals, argument.size() - 1) + 1);
  }
  prefix = options["-artifact_prefix"];
  const long long runs = std::stoll(options["-runs"]), seconds = std::stoll(options["-max_total_time"]);
  const auto seed = static_cast<std::uint32_t>(std::stoul(options["-seed"]));
  const auto timeout = static_cast<unsigned>(std::stoul(options["-timeout"]));
  const std::size_t most = std::stoul(options["-max_len"]);
  const std::vector<Input> seeds = corpus(paths);
  if (seeds.empty()) {
    std::fprintf(stderr, "no corpus: name a folder with files\n");
    return 2;
  }
  std::signal(SIGABRT, end_abort);
#if defined(__unix__) || defined(__APPLE__)
  std::signal(SIGALRM, end_slow_input);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_set_death_callback(save_current);
#else
  std::signal(SIGSEGV, end_abort);
  std::signal(SIGFPE, end_abort);
#endif
  std::mt19937 random(seed);
  bytes_random.seed(seed + 1);
  for (const Input& input : seeds) run_one(input, timeout);
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [start] { return std::chrono::steady_clock::now() - start; };
  long long done = 0;
  for (; (runs <= 0 || done < runs) && (seconds <= 0 || elapsed() < std::chrono::seconds(seconds)); ++done) {
    Input input = seeds[random() % seeds.size()];
    const std::size_t size = input.size();
    if (size > most) continue;
    input.resize(most);
    input.resize(LLVMFuzzerCustomMutator(input.data(), size, most, static_cast<unsigned>(random())));
    run_one(input, timeout);
    if (runs <= 0 && seconds <= 0) break;
  }
  const double took = std::chrono::duration<double>(elapsed()).count();
  std::printf("Done %lld runs in %.0f second(s)\n", done, took);
  return 0;
}
