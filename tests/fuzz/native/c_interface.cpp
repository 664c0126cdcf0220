// Calls functions of the C interface in any order, with arguments that are mostly right: null pointers, wrong sizes,
// numbers out of range, models that cannot run. Handles are used after they were freed only where the contract allows
// it. Whatever happens, a call returns a status with a text, writes nothing when it fails, and is never at fault itself
// (LSTMCORE_ERROR_INTERNAL); a model's steps have the bits of its sequences.
#include <lstmcore/lstmcore.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "call_program.hpp"
#include "memory_rule.hpp"
#include "options.hpp"

namespace {

using fuzz::Array;
using fuzz::CallProgram;

std::vector<std::string> found_files() {
  std::vector<std::string> paths;
  for (const char* const folder : {LSTMCORE_FUZZ_CORPUS "/model_files", LSTMCORE_FUZZ_GOLDEN}) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().extension() == ".safetensors") paths.push_back(entry.path().string());
    }
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

const std::vector<std::string>& files() {
  static const std::vector<std::string> paths = found_files();
  return paths;
}

/// The contents of all files, which calls damage copies of.
const std::string& contents(std::size_t index) {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> read;
    for (const std::string& path : files()) {
      std::ifstream stream(path, std::ios::binary);
      read.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
    }
    return read;
  }();
  return all[index];
}

struct Model {
  lstmcore_model* handle = nullptr;
  lstmcore_model_info info{};
};

struct Stream {
  lstmcore_stream* handle = nullptr;
  lstmcore_model_info info{};
  std::int64_t rows = 0;
};

/// The handles that a program has; they are freed at its end.
class Calls {
 public:
  explicit Calls(CallProgram& program) : program_(program) {}
  ~Calls() {
    for (Model& model : models_) lstmcore_model_free(model.handle);
    for (Stream& stream : streams_) lstmcore_stream_free(stream.handle);
  }
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  void next() {
    using Call = void (Calls::*)();
    constexpr Call calls[] = {
        &Calls::load,           &Calls::load_memory,   &Calls::load_wrong_path, &Calls::free_model,
        &Calls::get_info,       &Calls::get_layer,     &Calls::output_steps,    &Calls::forward,
        &Calls::forward_tokens, &Calls::create_stream, &Calls::free_stream,     &Calls::step,
        &Calls::step_tokens,    &Calls::reset,         &Calls::get_state,       &Calls::set_state,
        &Calls::set_threads,    &Calls::ask_process,   &Calls::compare_steps};
    program_.asks_for_much = false;
    (this->*calls[program_.byte() % (sizeof calls / sizeof calls[0])])();
  }

 private:
  // ---- rules ----

  /// Returns whether a call succeeded. One that failed has said why.
  bool succeeded(const char* call, lstmcore_status status) {
    const bool known = status >= LSTMCORE_OK && status <= LSTMCORE_ERROR_MEMORY && status != LSTMCORE_ERROR_MACHINE;
    fuzz::require(known, call, std::string("status ") + lstmcore_status_name(status) + ": " + lstmcore_last_error());
    if (status == LSTMCORE_OK) return true;
    fuzz::require(lstmcore_last_error()[0] != '\0', call, "an error without a text");
    const bool scarce = program_.asks_for_much || !fuzz::has_room(fuzz::memory_room / 2);  // earlier calls took it
    fuzz::require(status != LSTMCORE_ERROR_MEMORY || scarce, call,
                  std::string("out of memory for small sizes: ") + lstmcore_last_error());
    return false;
  }

  template <class T>
  bool wrote_well(const char* call, lstmcore_status status, const Array<T>& written) {
    const bool good = succeeded(call, status);
    fuzz::require(good || is_marked(written), call, "it failed and wrote");
    return good;
  }

  // ---- what calls draw ----

  Model& model() { return models_[program_.byte() % 3]; }
  Stream& stream() { return streams_[program_.byte() % 3]; }
  std::size_t file() { return program_.byte() % files().size(); }

  static std::int64_t product(std::initializer_list<std::int64_t> sizes) {
    std::int64_t result = 1;
    for (const std::int64_t size : sizes) {
      if (size < 0 || size > CallProgram::most) return -1;
      result *= size;
      if (result > CallProgram::most) return -1;
    }
    return result;
  }

  Array<float> values(std::int64_t needed) {
    Array<float> array = program_.array<float>(needed);
    std::generate_n(array.memory.get(), array.held, [this] { return program_.value(); });
    return array;
  }
  Array<std::int64_t> numbers(std::int64_t needed) {
    Array<std::int64_t> array = program_.array<std::int64_t>(needed);
    std::generate_n(array.memory.get(), array.held, [this] { return program_.number(); });
    return array;
  }
  Array<float> output(std::int64_t needed) {
    Array<float> array = program_.array<float>(needed);
    mark(array);
    return array;
  }

  // ---- models ----

  void keep(const char* call, lstmcore_status status, lstmcore_model* loaded) {
    if (!succeeded(call, status)) {
      fuzz::require(loaded == nullptr, call, "it failed and returned a model");
      return;
    }
    Model& to = model();
    lstmcore_model_free(to.handle);
    to.handle = loaded;
    to.info.struct_size = sizeof to.info;
    fuzz::require(lstmcore_model_get_info(loaded, &to.info) == LSTMCORE_OK, call, "a model that cannot be described");
  }

  void load() {
    lstmcore_model* loaded = nullptr;
    // Not in the list of arguments, which GCC computes from the last to the first.
    const lstmcore_status status = lstmcore_model_load(files()[file()].c_str(), &loaded);
    keep("lstmcore_model_load", status, loaded);
  }

  void load_memory() {
    std::string bytes = contents(file());
    if (program_.rarely()) bytes.resize(bytes.size() * program_.byte() / 256);
    for (std::size_t changes = program_.byte() % 4; changes > 0 && !bytes.empty(); --changes) {
      const std::size_t place = program_.byte() + std::size_t{256} * program_.byte();
      bytes[place % bytes.size()] = static_cast<char>(program_.byte());
    }
    const std::unique_ptr<char[]> copy(new char[bytes.size()]);
    std::copy(bytes.begin(), bytes.end(), copy.get());
    lstmcore_model* loaded = nullptr;
    const bool null = program_.rarely();
    const lstmcore_status status =
        lstmcore_model_load_memory(null ? nullptr : copy.get(), bytes.size(), program_.rarely() ? nullptr : &loaded);
    fuzz::require(!null || status != LSTMCORE_OK, "lstmcore_model_load_memory", "it accepted NULL");
    if (status == LSTMCORE_OK || loaded == nullptr) keep("lstmcore_model_load_memory", status, loaded);
  }

  void load_wrong_path() {
    const char* const paths[] = {nullptr, "", ".", "/", "no such file", "\xFF\xC0.safetensors", "a/b/c", "/dev/null"};
    lstmcore_model* loaded = nullptr;
    const lstmcore_status status =
        lstmcore_model_load(paths[program_.byte() % 8], program_.rarely() ? nullptr : &loaded);
    fuzz::require(!succeeded("lstmcore_model_load", status) && loaded == nullptr, "lstmcore_model_load", "no error");
  }

  void free_model() {
    Model& old = model();
    lstmcore_model_free(old.handle);
    old = {};
  }

  /// A struct of any size in memory that ends where it says.
  template <class Info, class Call>
  void describe(const char* name, Call&& call) {
    std::size_t size = sizeof(Info);
    if (program_.rarely()) size = program_.byte() % (2 * sizeof(Info));
    Array<char> memory(std::max(size, sizeof(size)));
    mark(memory);
    std::memcpy(memory.data, &size, sizeof size);
    const bool good = succeeded(name, call(program_.rarely() ? nullptr : reinterpret_cast<Info*>(memory.data)));
    std::size_t after = 0;
    std::memcpy(&after, memory.data, sizeof after);
    fuzz::require(after == size, name, "struct_size has changed");
    std::memset(memory.data, 0xA5, sizeof size);
    fuzz::require(good || is_marked(memory), name, "it failed and wrote");
  }

  void get_info() {
    const Model& of = model();
    describe<lstmcore_model_info>("lstmcore_model_get_info",
                                  [&](lstmcore_model_info* info) { return lstmcore_model_get_info(of.handle, info); });
  }

  void get_layer() {
    const Model& of = model();
    const std::int64_t index = program_.number();
    describe<lstmcore_layer_info>("lstmcore_model_get_layer", [&](lstmcore_layer_info* info) {
      const lstmcore_status status = lstmcore_model_get_layer(of.handle, index, info);
      const bool within = of.handle != nullptr && index >= 0 && index < of.info.layer_count;
      fuzz::require(within || status != LSTMCORE_OK, "lstmcore_model_get_layer", "it described no layer");
      if (status == LSTMCORE_OK)
        fuzz::require(std::strlen(info->class_name) > 0, "lstmcore_model_get_layer", "no class");
      return status;
    });
  }

  std::int64_t steps_of(const Model& of, std::int64_t steps) {
    std::int64_t found = -1;
    const bool good = succeeded("lstmcore_model_output_steps", lstmcore_model_output_steps(of.handle, steps, &found));
    fuzz::require(good == (found >= 0), "lstmcore_model_output_steps", std::to_string(found) + " steps");
    return found;
  }

  void output_steps() {
    const Model& of = model();
    steps_of(of, program_.number());
    succeeded("lstmcore_model_output_steps", lstmcore_model_output_steps(of.handle, program_.number(), nullptr));
  }

  // ---- whole sequences ----

  template <class T, class Inputs, class Function>
  void run_sequences(const char* name, std::int64_t width, const Model& of, Inputs&& inputs, Function&& function) {
    const std::int64_t rows = program_.number(), steps = program_.number();
    const std::int64_t outputs = of.info.output_has_steps != 0 ? steps_of(of, steps) : 1;
    const Array<T> x = inputs(product({rows, steps, width}));
    Array<float> y = output(product({rows, outputs, of.info.output_size}));
    std::unique_ptr<std::int64_t[]> lengths;
    if (program_.byte() % 2 == 1 && rows >= 0 && rows <= CallProgram::most) {
      lengths.reset(new std::int64_t[static_cast<std::size_t>(rows)]);
      std::generate_n(lengths.get(), rows, [this] { return program_.number(); });
    }
    wrote_well(name, function(of.handle, rows, steps, lengths.get(), x.data, x.told, y.data, y.told), y);
  }

  void forward() {
    const Model& of = model();
    const auto inputs = [this](std::int64_t needed) { return values(needed); };
    run_sequences<float>("lstmcore_model_forward", of.info.input_size, of, inputs, lstmcore_model_forward);
  }

  void forward_tokens() {
    const Model& of = model();
    const auto inputs = [this](std::int64_t needed) { return numbers(needed); };
    run_sequences<std::int64_t>("lstmcore_model_forward_tokens", 1, of, inputs, lstmcore_model_forward_tokens);
  }

  // ---- streams ----

  void create_stream() {
    const Model& of = model();
    const std::int64_t rows = program_.number();
    const auto threads = static_cast<std::int32_t>(program_.number());
    lstmcore_stream* made = nullptr;
    const bool nowhere = program_.rarely();
    const lstmcore_status status = lstmcore_stream_create(of.handle, rows, threads, nowhere ? nullptr : &made);
    if (!succeeded("lstmcore_stream_create", status)) {
      fuzz::require(made == nullptr, "lstmcore_stream_create", "it failed and returned a stream");
      return;
    }
    fuzz::require(lstmcore_stream_rows(made) == rows, "lstmcore_stream_rows", "another number");
    Stream& to = stream();
    lstmcore_stream_free(to.handle);
    to = {made, of.info, rows};
  }

  void free_stream() {
    Stream& old = stream();
    lstmcore_stream_free(old.handle);
    old = {};
  }

  void step() {
    const Stream& of = stream();
    const Array<float> x = values(product({of.rows, of.info.input_size}));
    Array<float> y = output(product({of.rows, of.info.output_size}));
    wrote_well("lstmcore_stream_step", lstmcore_stream_step(of.handle, x.data, x.told, y.data, y.told), y);
  }

  void step_tokens() {
    const Stream& of = stream();
    const Array<std::int64_t> x = numbers(of.rows);
    Array<float> y = output(product({of.rows, of.info.output_size}));
    wrote_well("lstmcore_stream_step_tokens", lstmcore_stream_step_tokens(of.handle, x.data, x.told, y.data, y.told),
               y);
  }

  void reset() {
    const Stream& of = stream();
    succeeded("lstmcore_stream_reset_row", lstmcore_stream_reset_row(of.handle, program_.number()));
    if (program_.byte() % 2 == 1) succeeded("lstmcore_stream_reset", lstmcore_stream_reset(of.handle));
  }

  void get_state() {
    const Stream& of = stream();
    const std::int64_t first = program_.number(), count = program_.number();
    Array<float> state = output(product({count, of.info.state_size}));
    wrote_well("lstmcore_stream_get_state", lstmcore_stream_get_state(of.handle, first, count, state.data, state.told),
               state);
  }

  void set_state() {
    const Stream& of = stream();
    const std::int64_t first = program_.number(), count = program_.number();
    const Array<float> state = values(product({count, of.info.state_size}));
    succeeded("lstmcore_stream_set_state", lstmcore_stream_set_state(of.handle, first, count, state.data, state.told));
  }

  // ---- the process ----

  void set_threads() {
    constexpr std::int32_t counts[] = {1, 2, 0, -1, 1025, std::numeric_limits<std::int32_t>::max()};
    const std::int32_t count = counts[program_.byte() % 6];
    const bool good = succeeded("lstmcore_set_num_threads", lstmcore_set_num_threads(count));
    fuzz::require(good == (count == 1 || count == 2), "lstmcore_set_num_threads", std::to_string(count));
    fuzz::require(!good || lstmcore_get_num_threads() == count, "lstmcore_get_num_threads", "another number");
  }

  void ask_process() {
    fuzz::require(lstmcore_abi_version() == LSTMCORE_ABI_VERSION, "lstmcore_abi_version", "another number");
    fuzz::require(lstmcore_version() != nullptr && lstmcore_instruction_set() != nullptr, "lstmcore_version", "NULL");
    fuzz::require(lstmcore_status_name(static_cast<lstmcore_status>(program_.number())) != nullptr,
                  "lstmcore_status_name", "NULL");
    fuzz::require(lstmcore_stream_rows(nullptr) == 0, "lstmcore_stream_rows", "rows of NULL");
  }

  // ---- steps and sequences ----

  /// Streams a model's sequences step by step, and compares the bits.
  void compare_steps() {
    const Model& of = model();
    if (of.handle == nullptr || of.info.can_stream == 0) return;
    const std::int64_t rows = 1 + program_.byte() % 3, steps = 1 + program_.byte() % 4;
    const std::int64_t width = of.info.vocabulary_size > 0 ? 1 : of.info.input_size, outputs = of.info.output_size;
    if (product({rows, steps, width}) < 0 || product({rows, steps, outputs}) < 0 || of.info.vocabulary_size == 1)
      return;
    const bool every = of.info.output_has_steps != 0;
    std::vector<float> x(static_cast<std::size_t>(rows * steps * width)), y(rows * (every ? steps : 1) * outputs);
    std::vector<std::int64_t> tokens(x.size());
    std::generate(x.begin(), x.end(), [this] { return program_.finite_value(); });
    for (std::int64_t& token : tokens)
      token = 1 + program_.byte() % std::max<std::int64_t>(of.info.vocabulary_size - 1, 1);
    const bool takes_tokens = of.info.vocabulary_size > 0;
    const lstmcore_status status =
        takes_tokens ? lstmcore_model_forward_tokens(of.handle, rows, steps, nullptr, tokens.data(), x.size(), y.data(),
                                                     y.size())
                     : lstmcore_model_forward(of.handle, rows, steps, nullptr, x.data(), x.size(), y.data(), y.size());
    fuzz::require(status == LSTMCORE_OK, "lstmcore_model_forward", lstmcore_last_error());
    lstmcore_stream* made = nullptr;
    fuzz::require(lstmcore_stream_create(of.handle, rows, program_.byte() % 2, &made) == LSTMCORE_OK,
                  "lstmcore_stream_create", lstmcore_last_error());
    std::vector<float> row_x(static_cast<std::size_t>(rows * width)), row_y(static_cast<std::size_t>(rows * outputs));
    std::vector<std::int64_t> row_tokens(row_x.size());
    for (std::int64_t step = 0; step < steps; ++step) {
      for (std::int64_t row = 0; row < rows; ++row) {
        std::copy_n(x.data() + (row * steps + step) * width, width, row_x.data() + row * width);
        std::copy_n(tokens.data() + (row * steps + step) * width, width, row_tokens.data() + row * width);
      }
      const lstmcore_status taken =
          takes_tokens
              ? lstmcore_stream_step_tokens(made, row_tokens.data(), row_tokens.size(), row_y.data(), row_y.size())
              : lstmcore_stream_step(made, row_x.data(), row_x.size(), row_y.data(), row_y.size());
      fuzz::require(taken == LSTMCORE_OK, "lstmcore_stream_step", lstmcore_last_error());
      if (!every && step + 1 < steps) continue;
      for (std::int64_t row = 0; row < rows; ++row) {
        const float* const expected = y.data() + (every ? row * steps + step : row) * outputs;
        fuzz::require(std::memcmp(row_y.data() + row * outputs, expected, outputs * sizeof(float)) == 0,
                      "lstmcore_stream_step", "other bits than the sequence");
      }
    }
    lstmcore_stream_free(made);
  }

  CallProgram& program_;
  Model models_[3];
  Stream streams_[3];
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  lstmcore_set_num_threads(1);
  contents(0);  // which stay
  const fuzz::MemoryRule rule(size);
  CallProgram program(data, size);
  Calls calls(program);
  for (int count = 0; count < 200 && !program.done(); ++count) calls.next();
  return 0;
}
