#include "smoother.hpp"

#include <lstmcore/lstm.hpp>

std::vector<float> smoothed(const std::vector<float>& samples) {
  lstmcore::LstmConfig config;
  config.input_size = 1;
  config.hidden_size = 1;
  const std::vector<float> input(4, 0.5f), recurrent(4, 0.25f), bias(4, 0.0f);
  lstmcore::LstmStream<float> stream(
      lstmcore::Lstm<float>(config, {{{input.data(), {4, 1}}, {recurrent.data(), {4, 1}}, {bias.data(), {4}}}}));
  std::vector<float> h(samples.size());
  for (std::size_t at = 0; at < samples.size(); ++at) stream.step(&samples[at], &h[at]);
  return h;
}
