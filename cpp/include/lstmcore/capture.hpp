// Captures of guitar amplifiers and pedals: small LSTMs that turn the samples of an instrument into those of the
// device. Read from the files of Neural Amp Modeler (.nam), RTNeural and AIDA-X (.json, .aidax), and GuitarML (.json).
// docs/audio.md describes what each of them stores.
//
// Reading is strict. It throws std::runtime_error, naming the file and what is wrong, if numbers are missing, left over
// or not finite, or if the file holds something else than LSTM and dense layers. Notes without which a capture sounds
// the same (name, rate, levels) count as missing where they are not what they should be.
#pragma once

#include <cstdint>
#include <filesystem>
#include <lstmcore/lstm.hpp>
#include <lstmcore/ops.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lstmcore {

/// nam: one list of numbers, with the first state. rtneural: layers with Keras' shapes. state_dict: PyTorch's tensors.
enum class CaptureFormat { nam, rtneural, state_dict };

/// "nam", "rtneural" or "state_dict".
const char* capture_format_name(CaptureFormat format);

/// An LSTM or a dense layer. All arrays are row-major; those that a kind does not have are empty.
struct CaptureLayer {
  bool recurrent = false;        ///< an LSTM; otherwise a dense layer
  std::int64_t input_size = 0;   ///< C
  std::int64_t output_size = 0;  ///< H of an LSTM, U of a dense layer
  std::vector<float> weight_ih;  ///< LSTM: (4H, C), rows i, f, g, o
  std::vector<float> weight_hh;  ///< LSTM: (4H, H)
  std::vector<float> kernel;     ///< dense: (C, U)
  std::vector<float> bias;       ///< (4H) or (U)
  std::vector<float> h, c;       ///< LSTM: the first state, (H) each; zeros where a format does not store it
  Activation activation = Activation::linear;  ///< of a dense layer

  /// The LSTM with its weights. Throws std::invalid_argument if the layer is dense.
  Lstm<float> lstm() const;
};

/// What a file holds. Sample n of the output is
///
///   output_gain * (network(x', controls) + (skip ? x' : 0))      x' = input_gain * x[n]
struct Capture {
  CaptureFormat format = CaptureFormat::nam;
  std::string name;                    ///< of the device, as its author wrote it; may be empty
  double sample_rate = 0;              ///< in Hz, of the samples that it was trained with; 0: the file does not say
  std::int64_t input_size = 1;         ///< the sample and, after it, the controls (knobs)
  bool skip = false;                   ///< whether the sample is added to the network's output
  double input_gain = 1;               ///< a factor, which the file has in decibels
  double output_gain = 1;              ///< likewise
  std::optional<double> loudness;      ///< in dB, of a standard signal played through it (NAM)
  std::optional<double> input_level;   ///< in dBu, of a sine whose samples reach 1 at the input (NAM)
  std::optional<double> output_level;  ///< in dBu, of such a sine at the output (NAM)
  std::vector<CaptureLayer> layers;    ///< from the input to the output, which is one sample
};

/// Bytes of the largest file that is read: captures have less than one megabyte.
constexpr std::int64_t most_capture_bytes = 16 * 1024 * 1024;

/// Reads a file of at most `most_capture_bytes`, whatever its name; its contents say which format it has.
Capture read_capture(const std::filesystem::path& path);

/// The same for the contents of a file.
Capture parse_capture(const std::string& text);

/// Plays a capture, with the same bits however the samples are divided into calls. The constructor allocates
/// everything, and copies what it needs of the capture.
class CaptureStream {
 public:
  /// Begins with the capture's first state and all controls at 0. Throws std::invalid_argument if the layers do not fit
  /// each other, or a gain is not finite as a float.
  explicit CaptureStream(const Capture& capture);
  ~CaptureStream();
  CaptureStream(CaptureStream&&) noexcept;
  CaptureStream& operator=(CaptureStream&&) noexcept;

  /// Computes y, `count` samples, from x, which may be the same memory. Does not allocate, lock or throw.
  /// After a sample that is NaN, all samples are until reset(). A control that is NaN has to be set again as well.
  void process(const float* x, float* y, std::int64_t count) noexcept;

  /// Number of controls: `input_size` - 1.
  std::int64_t controls() const noexcept;
  /// Sets a control from the next sample on (0 <= index < controls(), not checked).
  void set_control(std::int64_t index, float value) noexcept;

  /// Returns to the capture's first state; controls stay as they are.
  void reset() noexcept;

  /// Copies the state, `state_size()` numbers, out of the stream or into it: h and c of every LSTM layer, from the
  /// input to the output. Controls are not part of it.
  std::int64_t state_size() const noexcept;
  void get_state(float* state) const;
  void set_state(const float* state);

  /// Plays `count` samples of silence, so that the state comes to rest before the first sound: half a second in Neural
  /// Amp Modeler's player, 2048 samples in AIDA-X.
  void settle(std::int64_t count) noexcept;

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace lstmcore
