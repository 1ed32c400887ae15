// Reads fixtures/vectors/*.json (docs/vectors.md): a vector is a line.
#pragma once
#include <cctype>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

// The value of a name: it stands between its name and the next quotation mark.
std::string text(const std::string& line, const std::string& name) {
  size_t at = line.find("\"" + name + "\":");
  if (at == std::string::npos) throw std::runtime_error(name + " is missing");
  size_t begin = line.find_first_not_of("\"[", at + name.size() + 3);
  return line.substr(begin, line.find('"', begin) - begin);
}
double number(const std::string& line, const char* name) { return std::stod(text(line, name)); }
std::vector<uint64_t> integers(const std::string& line, const char* name) {
  std::string words = text(line, name);
  for (char& c : words) if (!std::isdigit(c)) c = ' ';
  std::istringstream in(words);
  return {std::istream_iterator<uint64_t>(in), {}};
}
std::vector<float> floats(const std::string& line, const char* name) {
  std::istringstream in(text(line, name));
  std::vector<float> found;
  for (uint32_t bits; in >> std::hex >> bits;) std::memcpy(&found.emplace_back(), &bits, 4);
  return found;
}

// Runs `differs`, which names the first stage that differs, if any, for every vector of a file.
template <class Differs> int check(const char* path, Differs differs) {
  std::ifstream file(path);
  int equal = 0, left_out = 0, wrong = 0;
  for (std::string line, stage; std::getline(file, line);) {
    if (line.rfind("{\"id\"", 0) != 0) continue;
    // What is refused has no stages, and temperature 0 as argmax none that are used.
    if (text(line, "refused")[0] != 'n' || number(line, "temperature") == 0) { ++left_out; continue; }
    stage = differs(line);
    if (stage.empty()) ++equal; else ++wrong, std::cout << text(line, "id") << ": " << stage << '\n';
  }
  std::cout << equal << " equal, " << wrong << " differ, " << left_out << " left out\n";
  return wrong || !equal;
}
