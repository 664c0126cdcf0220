// Layers for texts and token ids: TextVectorization makes ids, Embedding makes features of them.
#include "layer_kind.hpp"

namespace lstmcore {
namespace {

void read_embedding(const Description& from, ModelLayer& layer) {
  if (layer.input_size != 0) from.fail("expected token ids as input");
  layer.vocabulary_size = from.count("input_dim");
  layer.output_size = from.count("output_dim");
  layer.mask_zero = from.flag("mask_zero");
}

void add_embedding(const ModelLayer& layer, const std::string& prefix, NeededTensors& tensors) {
  tensors.shapes[prefix + "embeddings"] = {layer.vocabulary_size, layer.output_size};
}

}  // namespace

std::vector<LayerKind> embedding_kinds() {
  return {{"Embedding",
           {"input_dim", "output_dim", "mask_zero", "embeddings_initializer", "embeddings_regularizer", "seed"},
           {},
           read_embedding,
           add_embedding,
           nullptr},
          {"TextVectorization",
           {"max_tokens", "standardize", "split", "output_sequence_length", "vocabulary"},
           {},
           nullptr,
           nullptr,
           nullptr}};
}

}  // namespace lstmcore
