// What the opaque types of lstmcore.h are.
#pragma once

#include <lstmcore/lstmcore.h>

#include <memory>
#include <utility>

#include "../inference/stream.hpp"

struct lstmcore_model {
  std::shared_ptr<const lstmcore::inference::Network> network;
};

struct lstmcore_stream {
  lstmcore::inference::Stream steps;
};
