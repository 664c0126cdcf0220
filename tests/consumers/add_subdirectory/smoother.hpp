// A library that uses lstmcore inside.
#pragma once

#include <vector>

/// The h of an LSTM of one unit at each sample.
std::vector<float> smoothed(const std::vector<float>& samples);
