// Model files that are in memory already.
#include <lstmcore/model_file.hpp>
#include <string>
#include <utility>
#include <vector>

#include "allocation_counter.hpp"
#include "check.hpp"
#include "model_file_kit.hpp"

using lstmcore::ModelFile;

TEST("the same content as from a file") {
  std::string bytes = ModelFileMaker().bytes();
  const ModelFile file = ModelFile::from_memory(bytes.data(), bytes.size(), "here");
  bytes.assign(bytes.size(), '\0');  // not needed any more
  CHECK_EQUAL(file.layers().size(), 2u);
  CHECK(file.tensor<float>("out.kernel", {2, 1}) == std::vector<float>{1, 2});
  CHECK(file.tensor<float>("walk.bias_l0", {8}) == std::vector<float>{3, 4, 5, 6, 7, 8, 9, 10});
  CHECK_THROWS(file.layer("run"), "here: has no layer");
}

TEST("truncated and damaged memory") {
  const std::string bytes = ModelFileMaker().bytes();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const check::Context context("first " + std::to_string(size) + " bytes");
    const std::vector<char> exact(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    CHECK_THROWS(ModelFile::from_memory(exact.data(), size, "here"), "here: ");
  }
  const std::string longer = bytes + '\0';
  CHECK_THROWS(ModelFile::from_memory(longer.data(), longer.size(), "here"), "here: bytes from");
  std::string damaged = bytes;
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  CHECK_THROWS(ModelFile::from_memory(damaged.data(), damaged.size(), "here"), "checksum");
  CHECK_THROWS(ModelFile::from_memory(nullptr, 0, "here"), "here: truncated: expected at least 8 bytes, got 0");
}

TEST("an allocation that fails") {
  ModelFileMaker maker;
  maker.walk_config = replaced(maker.walk_config, R"("gate_clip": 0.0)", R"("gate_clip": 3.25)");
  const auto content = [](const ModelFile& file) {
    return std::pair(file.lstm<float>("walk").config().gate_clip, file.tensor<float>("walk.bias_l0", {8}));
  };
  const std::string bytes = maker.bytes();
  check_failing_allocations([&] { return content(ModelFile::from_memory(bytes.data(), bytes.size(), "here")); });
  const TemporaryFile file(bytes);
  check_failing_allocations([&] { return content(ModelFile(file.path())); });
}
