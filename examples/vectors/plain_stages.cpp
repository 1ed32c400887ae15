// The plain stages of sample_logits, held against fixtures/vectors/sample_logits.json.
#include <algorithm>
#include <cmath>
#include <random>

#include "vectors.hpp"

bool far(double a, double b) { return !(std::abs(a - b) <= 4e-6 * std::abs(b) + 1e-37); }
// Names the first stage that differs: each is computed from the recorded ones before it.
std::string differs(const std::string& line) {
  auto shape = integers(line, "shape"), tokens = integers(line, "token");
  size_t V = shape.back(), B = shape.size() > 1 ? shape[0] : 1, draws = tokens.size() / B;
  auto logits = floats(line, "logits"), probs = floats(line, "probs"), last = floats(line, "renormalized");
  auto by_k = text(line, "top_k_mask"), by_p = text(line, "top_p_mask");
  double t = number(line, "temperature"), k = number(line, "top_k");
  float top_p = float(number(line, "top_p"));
  for (size_t at = 0; at < B * V; at += V) {
    double most = -INFINITY, sum = 0, mass = 0, kept = 0;
    std::vector<std::pair<float, size_t>> order;
    for (size_t i = at; i < at + V; ++i) most = std::max(most, logits[i] / t), order.emplace_back(probs[i], i);
    for (size_t i = at; i < at + V; ++i) sum += std::exp(logits[i] / t - most);
    for (size_t i = at; i < at + V; ++i) if (far(std::exp(logits[i] / t - most) / sum, probs[i])) return "probs";
    auto larger = [](auto& a, auto& b) { return a.first > b.first; };  // Ties: as libstdc++ leaves them.
    auto sorted = order;
    std::sort(sorted.begin(), sorted.end(), larger);
    for (auto& [p, i] : order) {
      if ((k > 0 && p < sorted[size_t(k) - 1].first) == (by_k[i] == '1')) return "top_k_mask";
      if (by_k[i] == '0') p = 0;
    }
    std::sort(order.begin(), order.end(), larger);
    for (auto& [p, i] : order) {
      bool drop = top_p > 0 && i != order[0].second && float(mass) > top_p;
      if (drop == (by_p[i] == '1')) return "top_p_mask";
      mass += p, kept += drop ? 0 : p;
    }
    for (auto& [p, i] : order) if (far(by_p[i] == '1' ? p / kept : 0, last[i])) return "renormalized";
  }
  std::mt19937 random(uint32_t(integers(line, "seed")[0]));
  random.discard(integers(line, "advance")[0]);
  for (size_t call = 0; call < draws; ++call)
    for (size_t row = 0; row < B; ++row) {
      std::pair<float, size_t> best{-1, 0};
      for (size_t i = 0; i < V; ++i) {
        uint64_t high = random(), bits = (high << 32 | random()) & ((1ull << 53) - 1);
        float ratio = last[row * V + i] / float(-std::log1p(-std::ldexp(double(bits), -53)));
        if (ratio > best.first) best = {ratio, i};
      }
      if (best.second != tokens[row * draws + call]) return "token";
    }
  for (uint64_t next : integers(line, "next_outputs")) if (random() != next) return "generator";
  return "";
}

int main(int, char** arguments) { return check(arguments[1], differs); }
