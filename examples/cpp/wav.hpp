// Reads and writes WAV files: whole numbers of 16, 24 and 32 bits and floats of 32 bits, any number of channels.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <ios>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace example {

// The samples of one channel, from -1 to 1.
struct Sound {
  std::uint32_t rate = 0;  // samples a second
  std::vector<float> samples;
};

class WavReader {
 public:
  explicit WavReader(const std::filesystem::path& path) : path_(path) {
    std::ifstream stream(path, std::ios::binary);
    if (!stream) fail("cannot be opened");
    try {
      bytes_.assign(std::istreambuf_iterator<char>(stream), {});
    } catch (const std::ios::failure&) {
      fail("cannot be read");
    }
  }

  // Of several channels, the first.
  Sound read() {
    if (tag(0) != "RIFF" || tag(8) != "WAVE") fail("expected a WAV file");
    Sound sound;
    std::size_t at = 12, data = 0, data_size = 0;
    unsigned kind = 0, channels = 0, bits = 0;
    while (at + 8 <= bytes_.size()) {
      const std::size_t size = number(at + 4, 4), body = at + 8;
      if (tag(at) == "fmt ") {
        kind = number(body, 2);
        channels = number(body + 2, 2);
        sound.rate = number(body + 4, 4);
        bits = number(body + 14, 2);
        if (kind == extensible) kind = number(body + 24, 2);
      } else if (tag(at) == "data") {
        data = body;
        data_size = body + size <= bytes_.size() ? size : bytes_.size() - body;
      }
      at = body + size + size % 2;
    }
    const bool whole = kind == 1 && (bits == 16 || bits == 24 || bits == 32);
    if (channels == 0 || !(whole || (kind == 3 && bits == 32))) {
      fail("expected samples of 16, 24 or 32 bits, or floats of 32 bits");
    }
    if (sound.rate == 0) fail("expected a rate above 0");
    const std::size_t width = bits / 8, frame = width * channels;
    for (std::size_t k = 0; k + frame <= data_size; k += frame) {
      const std::uint32_t raw = number(data + k, width) << (32 - bits);
      float value = 0.0f;
      if (kind == 3) {
        std::memcpy(&value, &raw, sizeof value);
        if (!std::isfinite(value)) fail("expected finite samples");
      } else {
        std::int32_t level = 0;
        std::memcpy(&level, &raw, sizeof level);
        value = static_cast<float>(level) / 2147483648.0f;
      }
      sound.samples.push_back(value);
    }
    return sound;
  }

 private:
  static constexpr unsigned extensible = 0xFFFE;

  std::string tag(std::size_t at) const { return at + 4 <= bytes_.size() ? bytes_.substr(at, 4) : ""; }
  // Little-endian, of up to four bytes.
  std::uint32_t number(std::size_t at, std::size_t size) const {
    if (at + size > bytes_.size()) fail("expected a whole WAV file, got a part of one");
    std::uint32_t value = 0;
    for (std::size_t k = size; k-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes_[at + k]);
    return value;
  }

  [[noreturn]] void fail(const char* what) const { throw std::runtime_error(path_.string() + ": " + what); }

  std::filesystem::path path_;
  std::string bytes_;
};

// One channel of floats.
inline void write_wav(const std::filesystem::path& path, const Sound& sound) {
  std::string bytes;
  const auto add = [&](std::uint32_t value, int size) {
    for (int k = 0; k < size; ++k) bytes += static_cast<char>(value >> (8 * k) & 0xFF);
  };
  const auto size = static_cast<std::uint32_t>(sound.samples.size() * sizeof(float));
  bytes += "RIFF";
  add(36 + size, 4);
  bytes += "WAVEfmt ";
  add(16, 4);
  add(3, 2);  // floats
  add(1, 2);  // channel
  add(sound.rate, 4);
  add(sound.rate * 4, 4);  // bytes a second
  add(4, 2);               // bytes a frame
  add(32, 2);              // bits
  bytes += "data";
  add(size, 4);
  for (const float sample : sound.samples) {
    std::uint32_t raw = 0;
    std::memcpy(&raw, &sample, sizeof raw);
    add(raw, 4);
  }
  std::ofstream stream(path, std::ios::binary);
  stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  stream.close();
  if (!stream) {
    throw std::runtime_error(path.string() + ": cannot be written");
  }
}

}  // namespace example
