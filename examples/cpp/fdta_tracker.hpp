// Copyright (c) mmfdta authors.
//
// FDTA and MOTIP from a folder that `mmfdta export` wrote, with ONNX Runtime alone:
//
//     fdta::Tracker tracker("exported");
//     while (...)  // the frames of a video
//       for (const fdta::Track& track : tracker.step(rgb, width, height)) ...
//
// The networks are in the ONNX files. Here is the rest: a frame is resized as Pillow
// does it, detections are chosen, and `Tracker::associate` decides who is who, as
// mmfdta/models/trackers/assignment.py does with its default settings. Tracks are the
// same as those of `mmfdta track`.

#pragma once

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace fdta {

// ------------------------------------------------------------------------ model.json
// A value of a JSON document: `model["tracker"]["det_thr"].number`.
struct Json {
  std::string text;                    // of a string; else `null`, `true`, `0.5` ...
  double number = 0;                   // of a number
  std::vector<Json> items;             // of an array
  std::map<std::string, Json> fields;  // of an object

  bool has(const std::string& key) const { return fields.count(key) > 0; }

  const Json& operator[](const std::string& key) const {
    if (!has(key)) throw std::runtime_error("model.json: found no " + key);
    return fields.at(key);
  }

  static Json read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(path + ": cannot be read");
    const std::string document{std::istreambuf_iterator<char>(file), {}};
    std::size_t at = 0;
    return parse(document, at);
  }

 private:
  static char next(const std::string& document, std::size_t& at) {
    at = document.find_first_not_of(" \t\r\n", at);
    if (at == std::string::npos) throw std::runtime_error("model.json: it is cut off");
    return document[at];
  }

  static std::string parse_text(const std::string& document, std::size_t& at) {
    std::string text;
    for (++at; at < document.size() && document[at] != '"'; ++at) {
      if (document[at] == '\\') ++at;  // names have no other escapes than \" and \\.
      text += document[at];
    }
    ++at;
    return text;
  }

  static Json parse(const std::string& document, std::size_t& at) {
    Json value;
    const char first = next(document, at);
    if (first == '"') {
      value.text = parse_text(document, at);
    } else if (first == '{' || first == '[') {
      const char last = first == '{' ? '}' : ']';
      for (++at; next(document, at) != last;) {
        if (document[at] == ',') {
          ++at;
        } else if (first == '[') {
          value.items.push_back(parse(document, at));
        } else {
          const std::string key = parse_text(document, at);
          if (next(document, at) != ':')
            throw std::runtime_error("model.json: found no value of " + key);
          value.fields[key] = parse(document, ++at);
        }
      }
      ++at;
    } else {
      const std::size_t end = document.find_first_of(",]}:\" \t\r\n", at);
      if (end == at) throw std::runtime_error("model.json: it is damaged");
      value.text = document.substr(at, end - at);
      value.number = std::strtod(value.text.c_str(), nullptr);
      at = std::min(end, document.size());
    }
    return value;
  }
};

// --------------------------------------------------------------------- frames, resized
// Resize one axis of uint8 (outer, size, inner) as Pillow does: a triangle filter that
// is widened where the image shrinks, weights of 22 bits, a result of 8 bits. (Pillow 13
// takes the vertical axis first in some upright images; grey levels then differ by 1.)
inline std::vector<std::uint8_t> resize_axis(const std::vector<std::uint8_t>& from,
                                             int outer, int size, int inner,
                                             int wanted) {
  constexpr int kBits = 22;
  const double scale = static_cast<double>(size) / wanted;
  const double support = std::max(scale, 1.0);
  std::vector<std::uint8_t> to(static_cast<std::size_t>(outer) * wanted * inner);
  for (int place = 0; place < wanted; ++place) {
    const double centre = (place + 0.5) * scale;
    const int first = std::max(static_cast<int>(centre - support + 0.5), 0);
    const int end = std::min(static_cast<int>(centre + support + 0.5), size);
    std::vector<double> weights;
    double total = 0;
    for (int i = first; i < end; ++i) {
      const double distance = std::abs((i - centre + 0.5) * (1.0 / support));
      weights.push_back(distance < 1.0 ? 1.0 - distance : 0.0);
      total += weights.back();
    }
    std::vector<int> fixed;
    for (const double weight : weights)
      fixed.push_back(static_cast<int>(0.5 + weight / total * (1 << kBits)));
    for (int row = 0; row < outer; ++row) {
      const std::uint8_t* source =
          &from[(static_cast<std::size_t>(row) * size + first) * inner];
      std::uint8_t* target = &to[(static_cast<std::size_t>(row) * wanted + place) * inner];
      for (int i = 0; i < inner; ++i) {
        int sum = 1 << (kBits - 1);
        for (std::size_t k = 0; k < fixed.size(); ++k)
          sum += source[k * inner + i] * fixed[k];
        target[i] = static_cast<std::uint8_t>(std::clamp(sum >> kBits, 0, 255));
      }
    }
  }
  return to;
}

// What the detector gets of a frame.
struct PreparedFrame {
  std::vector<std::uint8_t> planes;  // (3, rows, columns), padded
  std::int64_t rows, columns;        // with padding
  std::int64_t height, width;        // without
};

// Resize and pad a frame, uint8 (height, width, 3), as the key `input` says.
inline PreparedFrame prepare(const Json& input, const std::uint8_t* rgb, int width,
                             int height) {
  const Json& resize = input["resize"];
  int new_width = width, new_height = height;
  if (resize["rule"].text == "short-side") {
    // Both sides are truncated; the long one has a limit.
    const int low = std::min(width, height), high = std::max(width, height);
    int short_side = static_cast<int>(resize["short"].number);
    int long_side = static_cast<int>(static_cast<double>(short_side) * high / low);
    if (resize.has("max_long") && long_side > resize["max_long"].number) {
      const int limit = static_cast<int>(resize["max_long"].number);
      short_side = std::max(
          1, static_cast<int>(static_cast<double>(limit) * short_side / long_side));
      long_side = limit;
    }
    new_height = height <= width ? short_side : long_side;
    new_width = height <= width ? long_side : short_side;
  } else if (resize["rule"].text != "none") {
    throw std::runtime_error("model.json: input.resize.rule: this example resizes by "
                             "the rule of FDTA's configs only, short-side");
  }
  if (resize["backend"].text != "pillow" || resize["interpolation"].text != "bilinear" ||
      input["pad_value"].text != "null")
    throw std::runtime_error("model.json: input: this example has Pillow's bilinear "
                             "resizing and no padding value");
  PreparedFrame frame;
  const bool fixed = !input["size"].items.empty();
  if (fixed) {  // shrunk until it fits, then padded at the right and bottom
    frame.columns = static_cast<std::int64_t>(input["size"].items[0].number);
    frame.rows = static_cast<std::int64_t>(input["size"].items[1].number);
    if (new_width > frame.columns || new_height > frame.rows) {
      const double factor = std::min(static_cast<double>(frame.rows) / new_height,
                                     static_cast<double>(frame.columns) / new_width);
      new_height = std::min<int>(frame.rows, std::max(1, int(new_height * factor)));
      new_width = std::min<int>(frame.columns, std::max(1, int(new_width * factor)));
    }
  } else {
    frame.rows = new_height;
    frame.columns = new_width;
  }
  frame.height = new_height;
  frame.width = new_width;

  std::vector<std::uint8_t> pixels(rgb, rgb + static_cast<std::size_t>(3) * width * height);
  if (new_width != width) pixels = resize_axis(pixels, height, width, 3, new_width);
  if (new_height != height)
    pixels = resize_axis(pixels, 1, height, 3 * new_width, new_height);
  const bool reverse = input["channel_order"].text == "bgr";
  const std::size_t plane = static_cast<std::size_t>(frame.rows) * frame.columns;
  frame.planes.assign(3 * plane, 0);
  for (int channel = 0; channel < 3; ++channel)
    for (int y = 0; y < new_height; ++y)
      for (int x = 0; x < new_width; ++x)
        frame.planes[channel * plane + y * frame.columns + x] =
            pixels[(static_cast<std::size_t>(y) * new_width + x) * 3 +
                   (reverse ? 2 - channel : channel)];
  return frame;
}

// -------------------------------------------------------------------------- tracking
struct Track {
  std::int64_t identity;     // counted from 0, never used again
  std::array<float, 4> box;  // left, top, right, bottom in pixels of the frame
  float score;
  std::int64_t label;   // of the class, from 0
  std::int64_t number;  // of the class in MOTChallenge text; -1 of a single class
};

// One video. `reset` starts another; two trackers follow two videos.
class Tracker {
 public:
  // `options` choose threads and providers; by default all cores of the processor.
  explicit Tracker(const std::string& folder,
                   const Ort::SessionOptions& options = Ort::SessionOptions())
      : model_(read_model(folder)),
        detector_(open(folder, "detector", options)),
        association_(open(folder, "association", options)) {
    const Json& settings = model_["tracker"];
    if (settings["protocol"].text != "object-max" || settings["overflow"].text != "drop")
      throw std::runtime_error("model.json: this example has no protocol but object-max, "
                               "and overflow 'drop' only");
    det_thr_ = settings["det_thr"].number;
    newborn_thr_ = settings["newborn_thr"].number;
    id_thr_ = settings["id_thr"].number;
    area_thr_ = settings["area_thr"].number;
    class_aware_ = settings["class_aware"].text == "true";
    num_words_ = static_cast<std::int64_t>(settings["num_id_vocabulary"].number);
    max_history_ = static_cast<std::size_t>(settings["miss_tolerance"].number) - 1;
    reset();
  }

  // The next frame is the first of another video.
  void reset() {
    history_.clear();
    queue_.clear();
    for (std::int64_t word = 0; word < num_words_; ++word) queue_.push_back(word);
    identities_.assign(num_words_, -1);
    classes_.assign(num_words_, -1);
    next_identity_ = 0;
  }

  // Track the next frame: uint8 (height, width, 3), red first.
  std::vector<Track> step(const std::uint8_t* rgb, int width, int height) {
    return associate(detect(rgb, width, height));
  }

 private:
  struct Detection {
    Track track;
    std::vector<float> embedding;
    std::int64_t word;  // K for none
  };

  static Json read_model(const std::string& folder) {
    Json model = Json::read(folder + "/model.json");
    if (model["format"].number != 1)
      throw std::runtime_error("model.json: format: found " + model["format"].text +
                               ", expected 1");
    if (model["association"].fields.empty())
      throw std::runtime_error("model.json: no association; this example is of FDTA and "
                               "MOTIP");
    return model;
  }

  static void check_finite(const float* values, std::size_t count, const char* what) {
    if (!std::all_of(values, values + count, [](float x) { return std::isfinite(x); }))
      throw std::runtime_error(std::string(what) + " are not finite; the weights or the "
                               "image are broken");
  }

  // ------------------------------------------------------------------------ networks
  Ort::Session open(const std::string& folder, const std::string& part,
                    const Ort::SessionOptions& options) {
    const std::filesystem::path path(folder + "/" + model_[part]["file"].text);
    return Ort::Session(environment_, path.c_str(), options);
  }

  template <typename T>
  Ort::Value tensor(T* values, const std::vector<std::int64_t>& shape) {
    std::size_t count = 1;
    for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
    return Ort::Value::CreateTensor<T>(memory_, values, count, shape.data(),
                                       shape.size());
  }

  // The detections above the thresholds, in the detector's order.
  std::vector<Detection> detect(const std::uint8_t* rgb, int width, int height) {
    PreparedFrame frame = prepare(model_["input"], rgb, width, height);
    std::vector<Ort::Value> inputs;
    inputs.push_back(tensor(frame.planes.data(), {1, 3, frame.rows, frame.columns}));
    std::array<std::int64_t, 2> size{frame.height, frame.width};
    std::vector<const char*> names{"frames"};
    if (detector_.GetInputCount() > 1) {
      names.push_back("sizes");
      inputs.push_back(tensor(size.data(), {1, 2}));
    }
    const std::array<const char*, 4> wanted{"boxes", "scores", "labels", "embeddings"};
    const auto outputs = detector_.Run(Ort::RunOptions{nullptr}, names.data(),
                                       inputs.data(), inputs.size(), wanted.data(),
                                       wanted.size());
    const auto shape = outputs[3].GetTensorTypeAndShapeInfo().GetShape();
    const std::int64_t queries = shape[1], channels = shape[2];
    const float* boxes = outputs[0].GetTensorData<float>();
    const float* scores = outputs[1].GetTensorData<float>();
    const std::int64_t* labels = outputs[2].GetTensorData<std::int64_t>();
    const float* embeddings = outputs[3].GetTensorData<float>();
    check_finite(boxes, static_cast<std::size_t>(4 * queries), "boxes");
    check_finite(scores, static_cast<std::size_t>(queries), "scores");
    std::vector<Detection> found;
    for (std::int64_t i = 0; i < queries; ++i) {
      const float* box = boxes + 4 * i;  // centre and size in 0..1
      const float area = box[2] * width * box[3] * height;
      if (!(scores[i] > det_thr_ && area > area_thr_)) continue;
      Track track{-1, {}, scores[i], labels[i], -1};
      if (!model_["column_numbers"].items.empty())
        track.number = static_cast<std::int64_t>(
            model_["column_numbers"].items.at(labels[i]).number);
      for (int side = 0; side < 4; ++side) {
        const float half = 0.5f * box[2 + side % 2];
        const float edge = box[side % 2] + (side < 2 ? -half : half);
        track.box[side] = edge * static_cast<float>(side % 2 ? height : width);
      }
      const float* embedding = embeddings + channels * i;
      found.push_back({track, {embedding, embedding + channels}, num_words_});
    }
    return found;
  }

  // Scores of the ID words (n, K + 1) for n detections; the last one means newborn.
  std::vector<float> score_identities(std::vector<std::int64_t> live,
                                      const std::vector<Detection>& found) {
    const auto n = static_cast<std::int64_t>(found.size());
    const auto frames = static_cast<std::int64_t>(history_.size());
    const auto words = static_cast<std::int64_t>(live.size());
    const auto channels = static_cast<std::int64_t>(found[0].embedding.size());
    std::vector<float> features(frames * words * channels, 0.0f), embeddings;
    const std::unique_ptr<bool[]> missing(new bool[frames * words]);
    for (std::int64_t t = 0; t < frames; ++t) {
      for (std::int64_t i = 0; i < words; ++i) {
        const auto seen = history_[t].find(live[i]);
        missing[t * words + i] = seen == history_[t].end();
        if (seen != history_[t].end())
          std::copy(seen->second.begin(), seen->second.end(),
                    features.begin() + (t * words + i) * channels);
      }
    }
    for (const Detection& detection : found)
      embeddings.insert(embeddings.end(), detection.embedding.begin(),
                        detection.embedding.end());
    std::array<Ort::Value, 4> inputs{
        tensor(features.data(), {frames, words, channels}),
        tensor(missing.get(), {frames, words}), tensor(live.data(), {words}),
        tensor(embeddings.data(), {n, channels})};
    const std::array<const char*, 4> names{"features", "missing", "words", "embeddings"};
    const char* wanted = "scores";
    const auto outputs = association_.Run(Ort::RunOptions{nullptr}, names.data(),
                                          inputs.data(), inputs.size(), &wanted, 1);
    const float* scores = outputs[0].GetTensorData<float>();
    check_finite(scores, static_cast<std::size_t>(n * (num_words_ + 1)), "ID scores");
    return {scores, scores + n * (num_words_ + 1)};
  }

  // ------------------------------------------------------------------- state machine
  // Words of live trajectories, ascending.
  std::vector<std::int64_t> live_words() const {
    std::set<std::int64_t> words;
    for (const auto& frame : history_)
      for (const auto& seen : frame) words.insert(seen.first);
    return {words.begin(), words.end()};
  }

  // A word is in use: it is lent again last.
  void touch(std::int64_t word) {
    queue_.remove(word);
    queue_.push_back(word);
  }

  // Each detection asks for its best word; of several the surest one gets it, if its
  // trajectory is live and the score is high enough.
  void assign(const std::vector<std::int64_t>& live, std::vector<Detection>& found) {
    const std::vector<float> scores = score_identities(live, found);
    std::map<std::int64_t, std::pair<double, Detection*>> surest;
    for (std::size_t i = 0; i < found.size(); ++i) {
      std::vector<float> row(scores.begin() + i * (num_words_ + 1),
                             scores.begin() + (i + 1) * (num_words_ + 1));
      for (std::int64_t word = 0; class_aware_ && word < num_words_; ++word)
        if (classes_[word] != found[i].track.label) row[word] = -1.0f;
      const auto best = std::max_element(row.begin(), row.end());
      const auto asked = surest.try_emplace(best - row.begin(), *best, &found[i]);
      if (!asked.second && *best > asked.first->second.first)
        asked.first->second = {*best, &found[i]};
    }
    for (const auto& [word, won] : surest)
      if (won.first >= id_thr_ && std::binary_search(live.begin(), live.end(), word))
        won.second->word = word;
  }

  std::vector<Track> associate(std::vector<Detection> found) {
    const std::vector<std::int64_t> live = live_words();
    if (!found.empty() && !live.empty()) assign(live, found);

    std::int64_t num_free = num_words_;
    for (Detection& detection : found) {
      if (detection.word == num_words_) continue;
      detection.track.identity = identities_[detection.word];
      touch(detection.word);
      --num_free;
    }
    // Newborns get new identities and the words that were used longest ago, also those
    // of trajectories that are not seen now; these end.
    auto lent = queue_.begin();
    for (Detection& detection : found) {
      if (detection.word < num_words_ || !(detection.track.score > newborn_thr_)) continue;
      if (num_free-- <= 0) break;  // more objects than words
      detection.word = *lent++;
      detection.track.identity = next_identity_++;
      identities_[detection.word] = detection.track.identity;
      classes_[detection.word] = detection.track.label;
      for (auto& frame : history_) frame.erase(detection.word);
    }

    std::vector<Track> tracks;
    history_.emplace_back();
    for (Detection& detection : found) {
      if (detection.word == num_words_) continue;
      touch(detection.word);
      history_.back()[detection.word] = std::move(detection.embedding);
      tracks.push_back(detection.track);
    }
    if (history_.size() > max_history_) history_.pop_front();
    return tracks;
  }

  Ort::Env environment_{ORT_LOGGING_LEVEL_WARNING, "fdta"};
  Ort::MemoryInfo memory_ =
      Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  Json model_;
  Ort::Session detector_, association_;
  // Detector's scores are compared in single precision, ID scores in double.
  float det_thr_ = 0, newborn_thr_ = 0, area_thr_ = 0;
  double id_thr_ = 0;
  bool class_aware_ = false;
  std::int64_t num_words_ = 0;  // K
  std::size_t max_history_ = 0;

  // Of each of the last frames: the words that were seen in it, and their embeddings.
  std::deque<std::map<std::int64_t, std::vector<float>>> history_;
  std::list<std::int64_t> queue_;  // words, the next one to be lent first
  std::vector<std::int64_t> identities_, classes_;  // what words stand for
  std::int64_t next_identity_ = 0;
};

}  // namespace fdta
