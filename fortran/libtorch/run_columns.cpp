// Does what run_columns.f90 does, with the libtorch that a torch wheel brings and no Python.
//
//   run_columns MODEL COLUMNS [REPETITIONS]
#include <torch/script.h>

#include "tensors.h"

int main(int argc, char** argv) {
  return columns::compare("run_columns", argc, argv, [](const char* path, const auto& data) {
    auto model = torch::jit::load(path, torch::kCPU);
    model.eval();
    return columns::on_tensors(data, [model](torch::Tensor x) mutable {
      return model.forward({x}).toTensor();
    });
  });
}
