// Does what run_columns.f90 does, with the libtorch that a torch wheel brings and no Python.
//
//   run_columns MODEL COLUMNS [REPETITIONS]
//
// The input has the strides (1, ncol) of a Fortran array, and the output is copied into one, as
// FTorch does it. Exit code 1: values differ from those of the file.
#include <torch/script.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <vector>

namespace {

constexpr double kTolerance = 1e-5;

torch::Tensor fortran_array(std::vector<float>& values, int64_t rows, int64_t columns) {
  return torch::from_blob(values.data(), {rows, columns}, {1, rows}, torch::kFloat32);
}

// Relative to the largest value of each feature: features differ by ten orders of magnitude.
double largest_difference(const torch::Tensor& found, const torch::Tensor& expected) {
  if (!torch::isfinite(found).all().item<bool>()) return INFINITY;
  const auto scale = expected.abs().amax(0).clamp_min(1e-37);
  return ((found - expected).abs().amax(0) / scale).max().item<double>();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: run_columns MODEL COLUMNS [REPETITIONS]\n");
    return 2;
  }
  const int repetitions = argc > 3 ? std::atoi(argv[3]) : 3;
  std::ifstream file(argv[2], std::ios::binary);
  int32_t sizes[3];
  if (!file.read(reinterpret_cast<char*>(sizes), sizeof sizes)) {
    std::fprintf(stderr, "run_columns: %s: cannot be read\n", argv[2]);
    return 2;
  }
  const int64_t ncol = sizes[0], nin = sizes[1], nout = sizes[2];
  std::vector<float> in(ncol * nin), expected(ncol * nout), out(ncol * nout, -1e38f);
  file.read(reinterpret_cast<char*>(in.data()), in.size() * sizeof(float));
  file.read(reinterpret_cast<char*>(expected.data()), expected.size() * sizeof(float));
  if (!file) {
    std::fprintf(stderr, "run_columns: %s: is too short\n", argv[2]);
    return 2;
  }

  torch::InferenceMode guard;
  auto model = torch::jit::load(argv[1], torch::kCPU);
  model.eval();
  const auto input = fortran_array(in, ncol, nin);
  auto output = fortran_array(out, ncol, nout);
  const auto run = [&] { output.copy_(model.forward({input}).toTensor()); };
  const auto first = model.forward({input}).toTensor();
  if (first.dtype() != torch::kFloat32 || first.sizes() != output.sizes()) {
    std::fprintf(stderr, "run_columns: the model's output has another shape or type\n");
    return 1;
  }
  run();
  const auto start = std::chrono::steady_clock::now();
  for (int repetition = 0; repetition < repetitions; ++repetition) run();
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;

  const double worst = largest_difference(output, fortran_array(expected, ncol, nout));
  std::printf("columns %lld, inputs %lld, outputs %lld\n", (long long)ncol, (long long)nin,
              (long long)nout);
  std::printf("largest relative difference %.3e\n", worst);
  if (repetitions > 0)
    std::printf("columns per second %.1f\n", ncol * repetitions / spent.count());
  if (!(worst <= kTolerance)) {
    std::fprintf(stderr, "run_columns: differs from Python by more than %g\n", kTolerance);
    return 1;
  }
  return 0;
}
