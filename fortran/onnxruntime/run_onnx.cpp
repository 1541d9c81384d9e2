// Does what run_columns.cpp does with an ONNX file (format=onnx), ONNX Runtime, and no torch.
//
//   run_onnx MODEL COLUMNS [REPETITIONS]
#include <onnxruntime_cxx_api.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <stdexcept>

#include "columns.h"

namespace {

// Rows of one order as columns of the other: (rows, count) becomes (count, rows).
void transpose(const float* from, float* to, int64_t rows, int64_t count) {
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < count; ++i) to[i * rows + row] = from[row * count + i];
}

class OnnxModel {
 public:
  OnnxModel(const char* path, const columns::Data& data)
      : ncol_(data.ncol), nin_(data.nin), nout_(data.nout), rows_(data.in.size()) {
    const char* threads = std::getenv("OMP_NUM_THREADS");
    Ort::SessionOptions options;
    if (threads != nullptr) options.SetIntraOpNumThreads(std::atoi(threads));
    session_ = std::make_unique<Ort::Session>(env_, path, options);
  }

  void operator()(const float* in, float* out) {
    transpose(in, rows_.data(), nin_, ncol_);
    const std::array<int64_t, 2> shape{ncol_, nin_};
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    auto input = Ort::Value::CreateTensor<float>(memory, rows_.data(), rows_.size(), shape.data(),
                                                 shape.size());
    const char* given[] = {"inputs"};
    const char* asked[] = {"outputs"};
    const auto found = session_->Run(Ort::RunOptions{nullptr}, given, &input, 1, asked, 1);
    const auto sizes = found.at(0).GetTensorTypeAndShapeInfo().GetShape();
    if (sizes != std::vector<int64_t>{ncol_, nout_})
      throw std::runtime_error("the model's output has another shape");
    transpose(found.at(0).GetTensorData<float>(), out, ncol_, nout_);
  }

 private:
  Ort::Env env_{ORT_LOGGING_LEVEL_ERROR, "run_onnx"};
  std::unique_ptr<Ort::Session> session_;
  int64_t ncol_, nin_, nout_;
  std::vector<float> rows_;
};

}  // namespace

int main(int argc, char** argv) {
  return columns::compare("run_onnx", argc, argv, [](const char* path, const auto& data) {
    auto model = std::make_shared<OnnxModel>(path, data);
    return columns::Model([model](float* in, float* out) { (*model)(in, out); });
  });
}
