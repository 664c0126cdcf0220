// The parts of a model file from which training resumes: optimizer, callbacks, states.
#include <lstmcore/model_file.hpp>
#include <string>

#include "check.hpp"
#include "model_file_kit.hpp"

TEST("optimizer slots") {
  const auto training = [](const char* optimizer) {
    return std::string(R"({"compile": {"optimizer": )") + optimizer + R"(}, "iterations": 3, "epoch": 1})";
  };
  ModelFileMaker maker;
  maker.tensors["optimizer.m"] = maker.tensors["optimizer.v"] = {"F32", {43}};
  refused(maker, "unknown tensor \"optimizer.m\"");
  maker.training = training(R"({"class": "Adam", "config": {}})");
  CHECK_EQUAL(opened(maker).layers().size(), 2u);
  maker.tensors["optimizer.v"].second = {42};
  refused(maker, "tensor \"optimizer.v\": expected F32 of shape (43,)");
  maker.tensors.erase("optimizer.v");
  refused(maker, "missing tensor \"optimizer.v\"");
  maker.tensors.erase("optimizer.m");
  maker.training = training(R"({"class": "SGD", "config": {"momentum": 0.0}})");
  CHECK_EQUAL(opened(maker).layers().size(), 2u);
  maker.training = training(R"({"class": "SGD", "config": {"momentum": 0.5}})");
  refused(maker, "missing tensor \"optimizer.velocity\"");
  maker.training = training(R"({"class": "RMSprop", "config": {}})");
  refused(maker, "missing tensor \"optimizer.mean_square\"");
  maker.training = training(R"({"class": "Lion", "config": {}})");
  refused(maker, "optimizer: unknown class \"Lion\"");
  maker.training = "{}";
  refused(maker, "training: missing compile");
}

TEST("states of callbacks, and class names") {
  const auto training = [](const char* callbacks) {
    return std::string(R"({"compile": {"optimizer": {"class": "SGD", "config": {"momentum": 0}}}, "iterations": 3,)"
                       R"( "epoch": 1, "callbacks": )") +
           callbacks + "}";
  };
  ModelFileMaker maker;
  maker.document = replaced(maker.document, R"("seed")", R"("class_names": ["bad", "good"], "seed")");
  maker.training = training(R"([{"class": "EarlyStopping", "number": 0, "state": {}, "tensors": ["best_weights"]}])");
  refused(maker, "missing tensor \"callbacks.0.best_weights\"");
  maker.tensors["callbacks.0.best_weights"] = {"F32", {43}};
  CHECK_EQUAL(opened(maker).layers().size(), 2u);
  maker.tensors["callbacks.1.best_weights"] = {"F32", {43}};
  refused(maker, "unknown tensor \"callbacks.1.best_weights\"");
  maker.tensors.erase("callbacks.1.best_weights");
  maker.training = training(R"([{"class": "EarlyStopping", "number": 0, "state": {}}])");
  refused(maker, "callbacks: missing tensors");
  maker.document = replaced(maker.document, R"(["bad", "good"])", R"(["bad", 1])");
  refused(maker, "class_names: expected a list of strings");
}

TEST("the states of stateful training") {
  ModelFileMaker maker;
  maker.training =
      R"({"compile": {"optimizer": {"class": "SGD", "config": {"momentum": 0}}}, "iterations": 3, "epoch": 1,)"
      R"( "state": ["walk"]})";
  maker.tensors["state.walk.h"] = {"F32", {1, 3, 2}};
  refused(maker, "missing tensor \"state.walk.c\"");
  maker.tensors["state.walk.c"] = {"F32", {1, 3, 2}};
  CHECK_EQUAL(opened(maker).layers().size(), 2u);
  maker.tensors["state.walk.c"].first = "I8";
  refused(maker, "tensor \"state.walk.c\": expected F32 or F64, got I8");
  maker.training = replaced(maker.training, R"(["walk"])", "[1]");
  refused(maker, "state: expected a list of strings");
}
