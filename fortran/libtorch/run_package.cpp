// The same with an AOTInductor package (format=pt2), which has no need of TorchScript.
//
//   run_package MODEL COLUMNS [REPETITIONS]
//
// The compiled code reads rows one after another in memory, whatever the strides say.
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <memory>

#include "tensors.h"

int main(int argc, char** argv) {
  return columns::compare("run_package", argc, argv, [](const char* path, const auto& data) {
    auto model = std::make_shared<torch::inductor::AOTIModelPackageLoader>(path);
    return columns::on_tensors(data, [model](torch::Tensor x) {
      return model->run({x.contiguous()}).at(0);
    });
  });
}
