// Copyright (c) mmfdta authors.
//
// Track raw frames and write MOTChallenge text, as `mmfdta track --model` does:
//
//     g++ -O2 -std=c++17 -Ionnxruntime/include main.cpp -Lonnxruntime/lib -lonnxruntime
//     ffmpeg -i dance.mp4 -f rawvideo -pix_fmt rgb24 - | ./a.out exported 1920 1080 > tracks.txt

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <vector>

#include "fdta_tracker.hpp"

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: track MODEL_FOLDER WIDTH HEIGHT [THREADS] < frames\n");
    return 2;
  }
  try {
    const int width = std::atoi(argv[2]), height = std::atoi(argv[3]);
    if (width < 1 || height < 1) {
      std::fprintf(stderr, "track: found %s x %s pixels, expected two numbers from 1 on\n",
                   argv[2], argv[3]);
      return 2;
    }
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(argc > 4 ? std::atoi(argv[4]) : 0);  // 0: all cores
    // docs/deploy.md has the lines that let CUDA compute.
    fdta::Tracker tracker(argv[1], options);
    std::vector<std::uint8_t> frame(static_cast<std::size_t>(3) * width * height);
    for (int number = 1;; ++number) {
      const std::size_t read = std::fread(frame.data(), 1, frame.size(), stdin);
      if (read == 0) return 0;
      if (read < frame.size()) {
        std::fprintf(stderr, "track: frame %d is cut off\n", number);
        return 1;
      }
      for (const fdta::Track& track : tracker.step(frame.data(), width, height)) {
        const auto [left, top, right, bottom] = track.box;
        std::printf("%d,%lld,%.3f,%.3f,%.3f,%.3f,%.6f,%lld,-1,-1\n", number,
                    static_cast<long long>(track.identity), left, top, right - left,
                    bottom - top, track.score, static_cast<long long>(track.number));
      }
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "track: %s\n", error.what());
    return 1;
  }
}
