// Runs a catchment's LSTM on daily weather as it arrives, and prints the discharge of each day.
//
//   python ../python/catchment.py               makes catchment.safetensors and weather.csv
//   cmake -S . -B build -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH=<where lstmcore is installed>
//   cmake --build build
//   build/streamflow catchment.safetensors weather.csv [spin-up days]
//
// The table has a header and a line for each day: the date, then the weather in the order of the model's inputs. "-"
// reads it from the standard input, so that a service may append a line each morning: the state stays in memory. With a
// column "discharge", which the model does not see, the Nash-Sutcliffe efficiency after the spin-up is printed at last.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <lstmcore/model_file.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "arguments.hpp"
#include "pipeline.hpp"

namespace {

// A table, line by line; errors name the line.
class Table {
 public:
  Table(std::istream& stream, std::string name) : stream_(stream), name_(std::move(name)) {}

  // The fields of the next line; false at the end.
  bool next(std::vector<std::string>& fields) {
    ++number_;
    std::string line;
    if (!std::getline(stream_, line)) {
      if (stream_.bad()) throw std::runtime_error(name_ + ": cannot be read");
      return false;
    }
    if (!line.empty() && line.back() == '\r') line.pop_back();
    fields.clear();
    std::size_t begin = 0;
    for (std::size_t comma = line.find(','); comma != std::string::npos; comma = line.find(',', begin)) {
      fields.push_back(line.substr(begin, comma - begin));
      begin = comma + 1;
    }
    fields.push_back(line.substr(begin));  // also an empty one after the last comma
    return true;
  }
  // Where the last line is, for errors.
  std::string place() const { return name_ + ", line " + std::to_string(number_); }

 private:
  std::istream& stream_;
  std::string name_;
  std::int64_t number_ = 0;
};

// 1 - sum (true - simulated)^2 / sum (true - mean true)^2 (Nash & Sutcliffe 1970), day by day.
class Efficiency {
 public:
  void add(double true_value, double simulated) {
    errors_ += (true_value - simulated) * (true_value - simulated);
    ++days_;
    const double before = true_value - mean_;  // Welford's update, which does not cancel
    mean_ += before / static_cast<double>(days_);
    spread_ += before * (true_value - mean_);
  }
  std::int64_t days() const { return days_; }
  double value() const { return 1.0 - errors_ / spread_; }

 private:
  std::int64_t days_ = 0;
  double errors_ = 0.0, mean_ = 0.0, spread_ = 0.0;
};

// Where a line has the model's inputs and, perhaps, the true discharge.
struct Columns {
  std::vector<std::size_t> weather;
  std::size_t discharge = 0;  // 0, where the date is: none
  std::size_t count = 0;

  Columns(const std::vector<std::string>& header, std::int64_t inputs) : count(header.size()) {
    for (std::size_t place = 1; place < header.size(); ++place) {
      if (header[place] == "discharge") {
        discharge = place;
      } else {
        weather.push_back(place);
      }
    }
    if (static_cast<std::int64_t>(weather.size()) != inputs) {
      throw std::runtime_error("the model takes " + std::to_string(inputs) + " inputs a day, but the table has " +
                               std::to_string(weather.size()) + " columns besides date and discharge");
    }
  }
};

void run(const char* path, Table table, std::int64_t spin_up) {
  const lstmcore::ModelFile file(path);
  example::Pipeline pipeline(file);
  std::vector<std::string> found;
  if (!table.next(found)) throw std::runtime_error(table.place() + ": expected a header");
  const Columns columns(found, pipeline.input_size());
  std::vector<float> x(columns.weather.size());
  Efficiency efficiency;
  for (std::int64_t day = 0; table.next(found); ++day) {
    if (found.size() != columns.count) {
      throw std::runtime_error(table.place() + ": expected " + std::to_string(columns.count) + " columns, got " +
                               std::to_string(found.size()));
    }
    const auto number = [&](std::size_t column) { return example::finite_number(table.place(), found[column]); };
    for (std::size_t c = 0; c < x.size(); ++c) x[c] = static_cast<float>(number(columns.weather[c]));
    const double discharge = static_cast<double>(pipeline.step(x.data()).front());
    std::printf("%s %.4f\n", found[0].c_str(), discharge);
    std::fflush(stdout);  // whoever reads it need not wait for the next day
    if (columns.discharge > 0 && day >= spin_up) efficiency.add(number(columns.discharge), discharge);
  }
  if (efficiency.days() > 0) {
    std::printf("Nash-Sutcliffe efficiency in %lld days: %.4f\n", static_cast<long long>(efficiency.days()),
                efficiency.value());
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::fprintf(stderr, "usage: %s MODEL.safetensors WEATHER.csv [SPIN-UP DAYS]\n", argv[0]);
    return 2;
  }
  try {
    const std::string name = argv[2];
    std::ifstream opened;
    if (name != "-") {
      opened.open(name);
      if (!opened) throw std::runtime_error(name + ": cannot be opened");
    }
    const std::int64_t spin_up = argc > 3 ? example::whole_number("SPIN-UP DAYS", argv[3], 0) : 365;
    run(argv[1], Table(name == "-" ? std::cin : opened, name), spin_up);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
