// The formats of captures. Each function reads a whole document and raises std::runtime_error for what is wrong with
// it.
#pragma once

#include <lstmcore/capture.hpp>

#include "../model_file/json.hpp"

namespace lstmcore::captures {

/// Neural Amp Modeler: {"version", "architecture": "LSTM", "config", "weights", "metadata", "sample_rate"}.
Capture read_nam(const json::Value& document);

/// RTNeural, and AIDA-X' files: {"in_shape", "layers": [{"type", "shape", "weights", "activation"}], "in_skip", ...}.
Capture read_rtneural(const json::Value& document);

/// PyTorch's tensors, as GuitarML's trainers write them: {"model_data", "state_dict": {"rec.weight_ih_l0", ...}}; or
/// the state dict alone, as RTNeural's examples have it.
Capture read_state_dict(const json::Value& document);
bool holds_state_dict(const json::Value& document);

}  // namespace lstmcore::captures
