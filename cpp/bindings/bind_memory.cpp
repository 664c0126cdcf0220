// How much memory a call will take.
#include <algorithm>
#include <lstmcore/cpu.hpp>
#include <lstmcore/memory.hpp>

#include "arrays.hpp"
#include "bind.hpp"

namespace lstmcore::bindings {

namespace {

py::dict count_memory(const LstmConfig& config, bool of_doubles, py::handle batch, py::handle steps,
                      py::handle valid_steps, py::handle recompute, py::handle vector_width, py::handle threads) {
  LstmCall call;
  call.batch = to_int64(batch, "batch_size");
  call.steps = to_int64(steps, "steps");
  call.valid_steps = to_int64(valid_steps, "total_steps");
  call.recompute = to_int64(recompute, "recompute");
  call.vector_bytes = to_int64(vector_width, "vector_bytes");
  call.threads = static_cast<int>(std::min<std::int64_t>(to_int64(threads, "num_threads"), 1 << 20));
  const LstmMemory memory = of_doubles ? lstm_memory<double>(config, call) : lstm_memory<float>(config, call);
  py::dict bytes;
  bytes["weights"] = memory.weights;
  bytes["inference"] = memory.inference;
  bytes["tape"] = memory.tape;
  bytes["backward"] = memory.backward;
  return bytes;
}

}  // namespace

void bind_memory(py::module_& module) {
  module.def("vector_bytes", &vector_bytes, py::arg("isa"),
             "Bytes of a vector of an instruction set; 0 if there is none of that name.");
  module.def("memory", &count_memory, py::arg("config"), py::arg("of_doubles"), py::arg("batch_size"), py::arg("steps"),
             py::arg("total_steps"), py::arg("recompute"), py::arg("vector_bytes"), py::arg("num_threads"),
             "Bytes that the engine takes for a call, by purpose.");
}

}  // namespace lstmcore::bindings
