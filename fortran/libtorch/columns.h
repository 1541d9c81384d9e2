// What the programs of this folder share: columns from a file, a model on them, the comparison.
#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <functional>
#include <vector>

namespace columns {

constexpr double kTolerance = 1e-5;

// Arrays are (ncol, nin) and (ncol, nout) in Fortran's order of elements: features are rows here.
struct Data {
  int64_t ncol = 0, nin = 0, nout = 0;
  std::vector<float> in, expected;
};

// From inputs to outputs, both in that order.
using Model = std::function<void(float* in, float* out)>;
using Load = std::function<Model(const char* path, const Data& data)>;

inline bool read(const char* path, Data& data) {
  std::ifstream file(path, std::ios::binary);
  int32_t sizes[3];
  if (!file.read(reinterpret_cast<char*>(sizes), sizeof sizes)) return false;
  data.ncol = sizes[0], data.nin = sizes[1], data.nout = sizes[2];
  data.in.resize(data.ncol * data.nin);
  data.expected.resize(data.ncol * data.nout);
  file.read(reinterpret_cast<char*>(data.in.data()), data.in.size() * sizeof(float));
  file.read(reinterpret_cast<char*>(data.expected.data()), data.expected.size() * sizeof(float));
  return bool(file);
}

// Relative to the largest value of each feature: features differ by ten orders of magnitude.
inline double largest_difference(const std::vector<float>& found, const Data& data) {
  double worst = 0;
  for (int64_t feature = 0; feature < data.nout; ++feature) {
    double scale = 1e-37, most = 0;
    for (int64_t column = 0; column < data.ncol; ++column) {
      const int64_t i = feature * data.ncol + column;
      if (!std::isfinite(found[i])) return INFINITY;
      scale = std::fmax(scale, std::fabs(data.expected[i]));
      most = std::fmax(most, std::fabs(double(found[i]) - data.expected[i]));
    }
    worst = std::fmax(worst, most / scale);
  }
  return worst;
}

// PROGRAM MODEL COLUMNS [REPETITIONS]; exit code 1: values differ from those of the file.
inline int compare(const char* program, int argc, char** argv, const Load& load) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s MODEL COLUMNS [REPETITIONS]\n", program);
    return 2;
  }
  const int repetitions = argc > 3 ? std::atoi(argv[3]) : 3;
  Data data;
  if (!read(argv[2], data)) {
    std::fprintf(stderr, "%s: %s: cannot be read, or is too short\n", program, argv[2]);
    return 2;
  }
  std::vector<float> out(data.ncol * data.nout, -1e38f);
  std::chrono::duration<double> spent{};
  try {
    const Model model = load(argv[1], data);
    model(data.in.data(), out.data());
    const auto start = std::chrono::steady_clock::now();
    for (int repetition = 0; repetition < repetitions; ++repetition)
      model(data.in.data(), out.data());
    spent = std::chrono::steady_clock::now() - start;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s: %s\n", program, argv[1], error.what());
    return 1;
  }
  const double worst = largest_difference(out, data);
  std::printf("columns %lld, inputs %lld, outputs %lld\n", (long long)data.ncol,
              (long long)data.nin, (long long)data.nout);
  std::printf("largest relative difference %.3e\n", worst);
  if (repetitions > 0)
    std::printf("columns per second %.1f\n", data.ncol * repetitions / spent.count());
  if (!(worst <= kTolerance)) {
    std::fprintf(stderr, "%s: differs from Python by more than %g\n", program, kTolerance);
    return 1;
  }
  return 0;
}

}  // namespace columns
