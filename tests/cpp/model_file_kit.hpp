// Helpers for the tests of model files: temporary files, and checks that a file is refused.
#pragma once

#include <filesystem>
#include <fstream>
#include <lstmcore/model_file.hpp>
#include <random>
#include <stdexcept>
#include <string>
#include <system_error>

#include "check.hpp"
#include "model_file_maker.hpp"

/// Folder of the files that Python wrote.
inline const std::string golden = LSTMCORE_GOLDEN;

/// A file that is removed at the end of the test. No other process uses its name, which begins with a random number and
/// is in UTF-8.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& bytes, const std::string& end = ".safetensors")
      : path_(name_of_process() + end) {
    std::ofstream(std::filesystem::u8path(path_), std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove(std::filesystem::u8path(path_), ignored);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  static const std::string& name_of_process() {
    static const std::string name = "test_model_file_" + std::to_string(std::random_device()());
    return name;
  }

  std::string path_;
};

inline lstmcore::ModelFile opened(const ModelFileMaker& maker) {
  return lstmcore::ModelFile(TemporaryFile(maker.bytes()).path());
}

inline void refused(const ModelFileMaker& maker, const char* text) {
  const TemporaryFile file(maker.bytes());
  CHECK_THROWS(lstmcore::ModelFile(file.path()), text);
  CHECK_THROWS(lstmcore::ModelFile(file.path()), file.path().c_str());
}

/// The same for a good file with one replacement in one part.
inline void refused(std::string ModelFileMaker::* part, const char* from, const char* to, const char* text) {
  const check::Context context(std::string(from) + " -> " + to);
  ModelFileMaker maker;
  maker.*part = replaced(maker.*part, from, to);
  refused(maker, text);
}

inline void check_truncations(const std::string& bytes) {
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const TemporaryFile file(bytes.substr(0, size));
    const check::Context context("first " + std::to_string(size) + " bytes");
    CHECK_THROWS(lstmcore::ModelFile(file.path()), file.path().c_str());
  }
  const TemporaryFile longer(bytes + '\0');
  CHECK_THROWS(lstmcore::ModelFile(longer.path()), "belong to no tensor");
}

/// One bit of each byte flipped: an error or, for example in a name, another good file; never anything else.
inline void check_damages(const ModelFileMaker& maker) {
  const std::string bytes = maker.bytes();
  const std::size_t data = bytes.size() - maker.data().size();
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    const check::Context context("byte " + std::to_string(at));
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << at % 8));
    const TemporaryFile file(damaged);
    if (at >= data) {
      CHECK_THROWS(lstmcore::ModelFile(file.path()), "checksum");
      continue;
    }
    try {
      const lstmcore::ModelFile model(file.path());
      CHECK(at >= 8);
    } catch (const std::runtime_error& error) {
      CHECK(std::string(error.what()).find(file.path()) == 0);
    }
  }
}
