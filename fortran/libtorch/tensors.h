// Fortran's arrays as tensors, and back.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <stdexcept>

#include "columns.h"

namespace columns {

inline torch::Tensor fortran_array(float* values, int64_t rows, int64_t count) {
  return torch::from_blob(values, {rows, count}, {1, rows}, torch::kFloat32);
}

// The input has the strides (1, ncol) of a Fortran array, and the output is copied into one, as
// FTorch does it.
inline Model on_tensors(const Data& data, std::function<torch::Tensor(torch::Tensor)> forward) {
  const int64_t ncol = data.ncol, nin = data.nin, nout = data.nout;
  return [=](float* in, float* out) {
    torch::InferenceMode guard;
    const auto result = forward(fortran_array(in, ncol, nin));
    auto output = fortran_array(out, ncol, nout);
    if (result.dtype() != torch::kFloat32 || result.sizes() != output.sizes())
      throw std::runtime_error("the model's output has another shape or type");
    output.copy_(result);
  };
}

}  // namespace columns
