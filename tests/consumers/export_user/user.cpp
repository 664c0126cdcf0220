#include <cmath>
#include <cstdio>

#include "smoother.hpp"

int main() {
  const double gate = 1 / (1 + std::exp(-0.5)), h = gate * std::tanh(gate * std::tanh(0.5));
  const float found = smoothed({1.0f})[0];
  std::printf("got %.7f, expected %.7f\n", static_cast<double>(found), h);
  return std::fabs(static_cast<double>(found) - h) < 1e-6 ? 0 : 1;
}
