// Model files: the content of a good one, and errors on damaged ones. More tests: test_model_file_*.cpp.
#ifndef _WIN32
#include <sys/stat.h>
#endif

#include <filesystem>
#include <lstmcore/capture.hpp>
#include <lstmcore/model_file.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.hpp"
#include "model_file_kit.hpp"

using lstmcore::ModelFile;
using lstmcore::ModelLayer;

namespace {

void refused_header(const char* from, const char* to, const char* text) {
  ModelFileMaker maker;
  maker.header = maker.default_header();
  const check::Context context(std::string(from) + " -> " + to);
  maker.header = replaced(maker.header, from, to);
  refused(maker, text);
}

}  // namespace

TEST("a good file") {
  const TemporaryFile temporary(ModelFileMaker().bytes());
  const ModelFile file(temporary.path());
  CHECK_EQUAL(file.dtype(), "float32");
  CHECK_EQUAL(file.layers().size(), 2u);
  const ModelLayer& walk = file.layer("walk");
  CHECK_EQUAL(walk.class_name, "LSTM");
  CHECK_EQUAL(walk.lstm.input_size, 2);
  CHECK_EQUAL(walk.lstm.hidden_size, 2);
  CHECK(!walk.return_sequences);
  CHECK_EQUAL(file.layer("out").activation, "linear");
  CHECK(file.tensor<float>("out.kernel", {2, 1}) == std::vector<float>{1, 2});
  CHECK(file.tensor<float>("walk.bias_l0", {8}) == std::vector<float>{3, 4, 5, 6, 7, 8, 9, 10});
  CHECK_EQUAL(file.lstm<float>("walk").config().hidden_size, 2);

  CHECK_THROWS(file.layer("run"), "its layers are walk, out");
  CHECK_THROWS(file.lstm<float>("run"), "run");
  CHECK_THROWS(file.lstm<float>("out"), "is not an LSTM but a Dense");
  CHECK_THROWS(file.lstm<double>("walk"), "holds float32, asked for float64");
  CHECK_THROWS(file.tensor<double>("out.kernel", {2, 1}), "holds float32, asked for float64");
  CHECK_THROWS(file.tensor<float>("out.kernels", {2, 1}), "out.kernels");
  CHECK_THROWS(file.tensor<float>("out.kernel", {1, 2}), "has shape (2, 1), asked for (1, 2)");
  CHECK_THROWS(file.tensor<float>("out.kernel", {2}), "asked for (2,)");
}

TEST("float64") {
  ModelFileMaker maker;
  for (auto& [name, tensor] : maker.tensors) tensor.first = "F64";
  refused(maker, "expected F32 of shape (1,), got F64 of shape (1,)");
  maker.document = replaced(maker.document, "float32", "float64");
  const ModelFile file = opened(maker);
  CHECK(file.tensor<double>("out.kernel", {2, 1}) == std::vector<double>{1, 2});
  CHECK_EQUAL(file.lstm<double>("walk").config().hidden_size, 2);
  CHECK_THROWS(file.lstm<float>("walk"), "holds float64, asked for float32");
}

TEST("file names beyond ASCII, in files and in errors") {
  const TemporaryFile good(ModelFileMaker().bytes(), " Pegel K\xC3\xB6ln \xE6\xB0\xB4.safetensors");
  const ModelFile file(std::filesystem::u8path(good.path()));
  CHECK_EQUAL(file.layers().size(), std::size_t{2});
  CHECK_THROWS(file.lstm<float>("out"), good.path().c_str());
  const TemporaryFile damaged("not a model", " \xD0\xBF.safetensors");
  CHECK_THROWS(ModelFile(std::filesystem::u8path(damaged.path())), damaged.path().c_str());
}

TEST("missing files, and files without a model") {
  CHECK_THROWS(ModelFile("no_such_file.safetensors"), "no_such_file.safetensors: cannot be read");
  CHECK_THROWS(ModelFile(""), "an empty path: cannot be read");
  CHECK_THROWS(ModelFile("."), "cannot be read");
  const TemporaryFile text("This is a text that has more than a few bytes.");
  CHECK_THROWS(ModelFile(text.path()), "not a safetensors file");
  refused_header("\"lstmcore\"", "\"somebody\"", "not an lstmcore model");
  refused(&ModelFileMaker::document, "{\"format\"", "[\"format\"", "its metadata is not valid JSON");
  refused(&ModelFileMaker::document, "\"format\": 1", "\"format\": 3",
          "by a newer lstmcore in format 3, expected format 1 or 2");
  refused(&ModelFileMaker::document, "\"format\": 1", "\"format\": 0", "in format 0");
  refused(&ModelFileMaker::document, "\"format\": 1", "\"format\": 1.5", "an integer as format");
  refused(&ModelFileMaker::document, "\"format\": 1, ", "", "missing format");
}

namespace {

/// Whether each character that begins, of one byte or of two, also ends.
bool is_whole(const std::string& text) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\xC3' ? text[++at] != '\xA9' : static_cast<unsigned char>(text[at]) > 0x7F) return false;
  }
  return true;
}

}  // namespace

TEST("long texts are shortened in messages, between two characters") {
  int refusals = 0;
  const auto check_short = [&](const ModelFileMaker& maker) {
    const TemporaryFile file(maker.bytes());
    try {
      const ModelFile opened(file.path());
    } catch (const std::runtime_error& error) {
      const std::string message = error.what();
      CHECK(message.size() < 1000);
      CHECK(is_whole(message));
      ++refusals;
    }
  };
  for (std::string text : {"", "x"}) {  // so that characters begin at even bytes and at odd ones
    while (text.size() < 20'000) text += "\xC3\xA9";
    for (std::string ModelFileMaker::* const part :
         {&ModelFileMaker::document, &ModelFileMaker::walk, &ModelFileMaker::walk_config, &ModelFileMaker::out}) {
      const std::string whole = ModelFileMaker().*part;
      for (std::size_t begin = whole.find('"'); begin != std::string::npos;) {
        const std::size_t end = whole.find('"', begin + 1);
        const check::Context context(whole.substr(begin, end - begin + 1));
        ModelFileMaker maker;
        maker.*part = whole.substr(0, begin + 1) + text + whole.substr(end);
        check_short(maker);
        begin = whole.find('"', end + 1);
      }
    }
    ModelFileMaker maker;
    maker.tensors[text] = {"F32", {1}};
    check_short(maker);
    maker.tensors["out.bias"] = {text, {1}};
    check_short(maker);
  }
  CHECK(refusals > 80);
}

#ifndef _WIN32
TEST("a pipe is refused, not waited for") {
  const TemporaryFile name("");
  std::filesystem::remove(name.path());
  CHECK_EQUAL(::mkfifo(name.path().c_str(), 0600), 0);
  CHECK_THROWS(ModelFile(name.path()), "it is a pipe, a socket or a device, not a file");
  CHECK_THROWS(lstmcore::read_capture(name.path()), "it is a pipe, a socket or a device, not a file");
}
#endif

TEST("every truncation, and trailing bytes") { check_truncations(ModelFileMaker().bytes()); }

TEST("every damaged byte") { check_damages(ModelFileMaker()); }

TEST("the safetensors header") {
  refused_header("\"F32\"", "\"F16\"", "tensor \"out.bias\": expected F32, F64 or I8, got F16");
  refused_header("\"F32\"", "32", "no valid \"dtype\"");
  refused_header("[1]", "[-1]", "an invalid number");
  refused_header("[1]", "[1.0]", "an invalid number");
  refused_header("[2,1]", "[2,2]", "expected 16 bytes for F32 of shape (2, 2), got 8");
  refused_header("[2,1]", "[4294967296,4294967296]", "overflows");
  refused_header("[0,4]", "[4,0]", "from begin to end");
  refused_header("[0,4]", "[0,4,8]", "from begin to end");
  refused_header("[4,12]", "[0,8]", "overlap at byte 0");
  refused_header("[4,12]", "[400,408]", "ends at byte 408 of 172");
  refused_header("[0,4]", "[0,4],\"more\":1", "expected dtype, shape and data_offsets");
  refused_header("\"shape\":[1],", "", "expected dtype, shape and data_offsets");
  refused_header("\"shape\"", "\"shapes\"", "no valid \"shape\"");
  refused_header("{\"__metadata__\":{", "{\"__metadata__\":{\"format\":1,", "__metadata__");
  refused_header("\"out.bias\"", "\"out.kernel\"", "\"out.kernel\" appears twice");
  refused_header("{\"__metadata__", " {\"__metadata__", "begins with '{'");
  // A hole: bytes that no tensor declares.
  ModelFileMaker maker;
  const std::string whole = maker.default_header();
  const std::size_t begin = whole.find(",\"out.kernel\""), end = whole.find(",\"walk.bias_l0\"");
  maker.header = whole.substr(0, begin) + whole.substr(end);
  refused(maker, "bytes from 4 on belong to no tensor");
}

TEST("unknown, missing, wrongly shaped and wrongly typed tensors") {
  {
    ModelFileMaker maker;
    maker.tensors["walk.weight_ih_l1"] = {"F32", {8, 2}};
    refused(maker, "unknown tensor \"walk.weight_ih_l1\"");
  }
  {
    ModelFileMaker maker;
    maker.tensors.erase("walk.bias_l0");
    refused(maker, "missing tensor \"walk.bias_l0\"");
  }
  {
    ModelFileMaker maker;
    maker.tensors["walk.weight_hh_l0"].second = {2, 8};
    refused(maker, "tensor \"walk.weight_hh_l0\": expected F32 of shape (8, 2), got F32 of shape (2, 8)");
  }
  {
    ModelFileMaker maker;
    maker.tensors["walk.bias_l0"].second = {8, 1};
    refused(maker, "expected F32 of shape (8,), got F32 of shape (8, 1)");
  }
  {
    ModelFileMaker maker;
    maker.tensors["walk.bias_l0"].first = "F64";
    refused(maker, "expected F32 of shape (8,), got F64 of shape (8,)");
  }
  {
    ModelFileMaker maker;
    maker.tensors["walk.bias_l0"].first = "I8";  // only in quantized models
    refused(maker, "expected F32 of shape (8,), got I8 of shape (8,)");
  }
  ModelFileMaker maker;
  maker.checksum = "1";
  refused(maker, "checksum");
}
