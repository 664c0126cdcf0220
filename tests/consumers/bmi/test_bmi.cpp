// The component of examples/cpp/bmi: every function of the Basic Model Interface, and the numbers that Python predicts.
#include <dlfcn.h>
#include <sys/stat.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <locale>
#include <random>
#include <string>
#include <vector>

#include "catchments.hpp"
#include "check.hpp"

using catchments::Catchments;

namespace {

const std::string golden = LSTMCORE_GOLDEN;
constexpr int count = 5, days = 12;
const char* const forcing_names[] = {"precipitation", "temperature", "evaporation"};

std::vector<double> numbers_of(const std::string& name) {
  std::ifstream text(golden + "/" + name);
  text.imbue(std::locale::classic());
  return {std::istream_iterator<double>(text), std::istream_iterator<double>()};
}

/// The forcings and the outputs of a day for each of `catchments` catchments, of which those of the files are repeated.
std::vector<double> forcing(int day, int variable, int catchments = count) {
  static const std::vector<double> all = numbers_of("forcings.txt");
  std::vector<double> values;
  for (int n = 0; n < catchments; ++n) {
    values.push_back(all.at(static_cast<std::size_t>((day * count + n % count) * 3 + variable)));
  }
  return values;
}

std::vector<double> expected(int day, int variable) {
  static const std::vector<double> all = numbers_of("outputs.txt");
  std::vector<double> values;
  for (int n = 0; n < count; ++n) values.push_back(all.at(static_cast<std::size_t>((day * count + n) * 2 + variable)));
  return values;
}

void set_day(bmi::Bmi& model, int day, int catchments = count) {
  for (int variable = 0; variable < 3; ++variable) {
    model.SetValue(forcing_names[variable], forcing(day, variable, catchments).data());
  }
}

std::vector<double> values_of(bmi::Bmi& model, const std::string& name) {
  std::vector<double> values(static_cast<std::size_t>(model.GetGridSize(0)));
  model.GetValue(name, values.data());
  return values;
}

/// A file beside the test that is removed at its end.
class TemporaryFile {
 public:
  TemporaryFile(const std::string& name, const std::string& text,
                const std::string& prefix = std::to_string(std::random_device()()))
      : path_(prefix + name) {
    std::ofstream(path_) << text;
  }
  ~TemporaryFile() { std::remove(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// A config file like that of the tests, with other attributes and more lines.
std::string config_text(const std::string& attributes, const std::string& more = "") {
  return "model = " + golden + "/catchments.safetensors\nattributes = " + attributes +
         "\nforcings = precipitation [mm d-1], temperature [degC], evaporation [mm d-1]\n"
         "outputs = discharge [mm d-1], soil_moisture [mm]\n" +
         more;
}

/// The text of a table with one catchment that has these attributes.
std::string table_text(const std::string& attributes) {
  return "name,lon,lat,slope,forest\na,1,2," + attributes + "\n";
}

void refused(const std::string& config, const char* text) {
  const TemporaryFile file("refused.cfg", config);
  Catchments model;
  CHECK_THROWS(model.Initialize(file.path()), text);
}

/// Where a final state cannot be written, Initialize says so, and Finalize where that is so only later.
template <class Spoil>
void refused_place(const std::string& path, const Spoil& spoil, const std::string& text) {
  const TemporaryFile config("place.cfg", config_text(golden + "/attributes.csv", "final_state = " + path));
  Catchments before, after;
  before.Initialize(config.path());
  spoil();
  CHECK_THROWS(after.Initialize(config.path()), text.c_str());
  CHECK_THROWS(before.Finalize(), text.c_str());
  CHECK_EQUAL(before.GetCurrentTime(), 0.0);  // nothing is lost
}

}  // namespace

TEST("the outputs are those that Python predicts") {
  Catchments model;
  model.Initialize(golden + "/catchments.cfg");
  for (int day = 0; day < days; ++day) {
    const check::Context context("day " + std::to_string(day));
    set_day(model, day);
    model.Update();
    CHECK_ARRAYS_CLOSE(values_of(model, "discharge"), expected(day, 0), 2e-6);
    CHECK_ARRAYS_CLOSE(values_of(model, "soil_moisture"), expected(day, 1), 2e-6);
    CHECK_EQUAL(model.GetCurrentTime(), 86400.0 * (day + 1));
  }
}

TEST("thousands of catchments have the bits of few") {
  constexpr int many = 3001;
  std::ifstream table(golden + "/attributes.csv");
  std::vector<std::string> lines;
  for (std::string line; std::getline(table, line);) lines.push_back(line);
  std::string text = lines.at(0) + "\n";
  for (int n = 0; n < many; ++n) text += lines.at(static_cast<std::size_t>(1 + n % count)) + "\n";
  const TemporaryFile attributes("attributes.csv", text), config("many.cfg", config_text(attributes.path()));
  Catchments few, large;
  few.Initialize(golden + "/catchments.cfg");
  large.Initialize(config.path());
  CHECK_EQUAL(large.GetGridSize(0), many);
  for (int day = 0; day < 3; ++day) {
    set_day(few, day);
    set_day(large, day, many);
    few.Update();
    large.Update();
    const std::vector<double> y = values_of(large, "discharge"), of_few = values_of(few, "discharge");
    for (std::size_t n = 0; n < y.size(); ++n) CHECK(y[n] == of_few[n % count]);
  }
}

TEST("what the component says about itself") {
  Catchments component;
  bmi::Bmi& model = component;
  model.Initialize(golden + "/catchments.cfg");
  CHECK_EQUAL(model.GetComponentName(), "lstmcore catchments");
  CHECK_EQUAL(model.GetInputItemCount(), 3);
  CHECK_EQUAL(model.GetOutputItemCount(), 2);
  CHECK(model.GetInputVarNames() == (std::vector<std::string>{"precipitation", "temperature", "evaporation"}));
  CHECK(model.GetOutputVarNames() == (std::vector<std::string>{"discharge", "soil_moisture"}));
  for (const std::string& name : {"temperature", "discharge"}) {
    CHECK_EQUAL(model.GetVarGrid(name), 0);
    CHECK_EQUAL(model.GetVarType(name), "double");
    CHECK_EQUAL(model.GetVarItemsize(name), 8);
    CHECK_EQUAL(model.GetVarNbytes(name), 8 * count);
    CHECK_EQUAL(model.GetVarLocation(name), "node");
  }
  CHECK_EQUAL(model.GetVarUnits("temperature"), "degC");
  CHECK_EQUAL(model.GetVarUnits("discharge"), "mm d-1");
  CHECK_EQUAL(model.GetStartTime(), 0.0);
  CHECK_EQUAL(model.GetCurrentTime(), 0.0);
  CHECK_EQUAL(model.GetEndTime(), 86400.0 * days);
  CHECK_EQUAL(model.GetTimeStep(), 86400.0);
  CHECK_EQUAL(model.GetTimeUnits(), "s");
}

TEST("the grid has the catchments as points") {
  Catchments component;
  bmi::Bmi& model = component;
  model.Initialize(golden + "/catchments.cfg");
  CHECK_EQUAL(model.GetGridRank(0), 2);
  CHECK_EQUAL(model.GetGridSize(0), count);
  CHECK_EQUAL(model.GetGridType(0), "points");
  CHECK_EQUAL(model.GetGridNodeCount(0), count);
  CHECK_EQUAL(model.GetGridEdgeCount(0), 0);
  CHECK_EQUAL(model.GetGridFaceCount(0), 0);
  double x[count], y[count];
  model.GetGridX(0, x);
  model.GetGridY(0, y);
  for (int n = 0; n < count; ++n) {
    CHECK_EQUAL(x[n], 5 + n / 4.0);
    CHECK_EQUAL(y[n], 50 - n / 8.0);
  }
  int none[1] = {77};
  model.GetGridEdgeNodes(0, none);
  model.GetGridFaceEdges(0, none);
  model.GetGridFaceNodes(0, none);
  model.GetGridNodesPerFace(0, none);
  CHECK_EQUAL(none[0], 77);
  CHECK_THROWS(model.GetGridShape(0, none), "GetGridShape: the catchments are points");
  CHECK_THROWS(model.GetGridSpacing(0, x), "GetGridSpacing");
  CHECK_THROWS(model.GetGridOrigin(0, x), "GetGridOrigin");
  CHECK_THROWS(model.GetGridZ(0, x), "GetGridZ");
  CHECK_THROWS(model.GetGridSize(1), "there is no grid 1; expected 0");
}

TEST("values by pointer and by index") {
  Catchments component;
  bmi::Bmi& model = component;
  model.Initialize(golden + "/catchments.cfg");
  set_day(model, 0);
  int places[2] = {4, 1};
  double values[2] = {40, 10}, read[2] = {};
  model.SetValueAtIndices("temperature", places, 2, values);
  model.GetValueAtIndices("temperature", read, places, 2);
  CHECK(read[0] == 40 && read[1] == 10);
  const auto* const all = static_cast<const double*>(model.GetValuePtr("temperature"));
  CHECK(all[4] == 40 && all[1] == 10 && all[0] == forcing(0, 1)[0]);
  const auto* const discharge = static_cast<const double*>(model.GetValuePtr("discharge"));
  CHECK(std::isnan(discharge[0]));
  model.Update();
  CHECK(discharge[0] == values_of(model, "discharge")[0]);  // the pointer stays valid
  places[1] = count;
  CHECK_THROWS(model.SetValueAtIndices("temperature", places, 2, read),
               "temperature: expected indices from 0 to 4, got 5");
  CHECK_THROWS(model.GetValueAtIndices("temperature", read, places, 2), "got 5");
  CHECK_EQUAL(all[4], 40.0);
  CHECK_THROWS(model.SetValue("discharge", values), "discharge: is an output");
  CHECK_THROWS(model.SetValueAtIndices("discharge", places, 1, values), "discharge: is an output");
  CHECK_THROWS(model.GetValue("snow", values),
               "there is no variable \"snow\"; expected one of precipitation, temperature");
}

TEST("steps until a time") {
  Catchments one_by_one, at_once;
  one_by_one.Initialize(golden + "/catchments.cfg");
  at_once.Initialize(golden + "/catchments.cfg");
  set_day(one_by_one, 0);
  set_day(at_once, 0);
  for (int day = 0; day < 4; ++day) one_by_one.Update();
  at_once.UpdateUntil(4 * 86400.0);
  CHECK_SAME_BITS(values_of(at_once, "discharge"), values_of(one_by_one, "discharge"));
  CHECK_EQUAL(at_once.GetCurrentTime(), 4 * 86400.0);
  at_once.UpdateUntil(4 * 86400.0);  // no step
  CHECK_EQUAL(at_once.GetCurrentTime(), 4 * 86400.0);
  CHECK_THROWS(at_once.UpdateUntil(4.5 * 86400.0), "a whole number of steps");
  CHECK_THROWS(at_once.UpdateUntil(3 * 86400.0), "a whole number of steps");
  CHECK_THROWS(at_once.UpdateUntil(std::nan("")), "a whole number of steps");
  CHECK_THROWS(at_once.UpdateUntil(std::numeric_limits<double>::max()), "a whole number of steps");
}

TEST("a missing forcing stops the step and changes nothing") {
  Catchments model, other;
  model.Initialize(golden + "/catchments.cfg");
  other.Initialize(golden + "/catchments.cfg");
  CHECK_THROWS(model.Update(), "Update: precipitation has no value (NaN) for catchment river 0");
  set_day(model, 0);
  int place[1] = {3};
  double nan[1] = {std::nan("")};
  model.SetValueAtIndices("evaporation", place, 1, nan);
  CHECK_THROWS(model.Update(), "Update: evaporation has no value (NaN) for catchment river 3");
  CHECK_EQUAL(model.GetCurrentTime(), 0.0);
  set_day(model, 0);
  set_day(other, 0);
  model.Update();
  other.Update();
  CHECK_SAME_BITS(values_of(model, "discharge"), values_of(other, "discharge"));
}

TEST("a forcing that is infinite as float stops the step and changes nothing") {
  Catchments model, other;
  for (Catchments* each : {&model, &other}) {
    each->Initialize(golden + "/catchments.cfg");
    set_day(*each, 0);
  }
  int place[1] = {3};
  for (const double bad :
       {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(), 1e300, -3.5e38}) {
    double value[1] = {bad};
    model.SetValueAtIndices("temperature", place, 1, value);
    CHECK_THROWS(model.Update(),
                 "Update: temperature for catchment river 3: expected a number that is finite as float");
  }
  set_day(model, 0);
  model.Update();
  other.Update();
  CHECK_SAME_BITS(values_of(model, "discharge"), values_of(other, "discharge"));
}

TEST("the host's locale changes neither what is read nor what messages say") {
  struct Commas : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
  };
  struct Host {
    std::locale before = std::locale::global(std::locale(std::locale(), new Commas));
    ~Host() { std::locale::global(before); }
  };
  const Host host;
  Catchments model;
  model.Initialize(golden + "/catchments.cfg");
  CHECK_EQUAL(model.GetTimeStep(), 86400.0);
  double value = -3.5e38;
  set_day(model, 0);
  int place = 3;
  model.SetValueAtIndices("temperature", &place, 1, &value);
  CHECK_THROWS(model.Update(), "for catchment river 3: expected a number that is finite as float, got -3.5e+38");
  CHECK_THROWS(model.UpdateUntil(86400.25), "a whole number of steps after 0, got 86400.25");
}

TEST("a stored state that is not finite is refused") {
  const TemporaryFile state("state.bin", "");
  const std::string config = config_text(golden + "/attributes.csv", "initial_state = " + state.path());
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    std::vector<float> numbers(80, 0.5f);
    numbers[7] = bad;
    std::ofstream(state.path(), std::ios::binary)
        .write(reinterpret_cast<const char*>(numbers.data()), static_cast<std::streamsize>(4 * numbers.size()));
    refused(config, "expected a state of finite numbers, got");
    refused(config, "at number 7 of 80");
  }
}

TEST("the final state takes the place of the old one at once") {
  namespace fs = std::filesystem;
  const TemporaryFile state("state.bin", "old"), other_name("link.bin", ""),
      config("final.cfg", config_text(golden + "/attributes.csv", "final_state = " + state.path()));
  fs::remove(other_name.path());
  fs::create_hard_link(state.path(), other_name.path());
  Catchments model;
  model.Initialize(config.path());
  model.Finalize();
  CHECK_EQUAL(fs::file_size(state.path()), 320u);
  CHECK_EQUAL(fs::file_size(other_name.path()), 3u);  // the old file was not written to
  CHECK(!fs::exists(state.path() + ".part"));

  fs::remove(other_name.path());
  fs::create_symlink(state.path(), other_name.path());
  const TemporaryFile by_link("link.cfg",
                              config_text(golden + "/attributes.csv", "final_state = " + other_name.path()));
  std::ofstream(state.path(), std::ios::trunc) << "old";
  model.Initialize(by_link.path());
  model.Finalize();
  CHECK(fs::is_symlink(other_name.path()));
  CHECK_EQUAL(fs::file_size(state.path()), 320u);

  const TemporaryFile folder("folder", "");
  fs::remove(folder.path());
  fs::create_directory(folder.path());
  const std::string nowhere = folder.path() + "/state.bin";
  refused_place(nowhere, [&] { fs::remove(folder.path()); }, nowhere + ": the state cannot be written");
}

TEST("Initialize leaves nothing where the final state will be") {
  namespace fs = std::filesystem;
  const TemporaryFile state("state.bin", "old"), part(state.path() + ".part", "of a program that was killed", ""),
      config("final.cfg", config_text(golden + "/attributes.csv", "final_state = " + state.path()));
  Catchments model;
  model.Initialize(config.path());
  CHECK_EQUAL(bytes_of(state.path()), "old");
  CHECK_EQUAL(bytes_of(part.path()), "of a program that was killed");
  fs::remove(state.path());
  fs::remove(part.path());
  model.Initialize(config.path());
  CHECK(!fs::exists(state.path()) && !fs::exists(part.path()));
}

TEST("the final state may be a new file") {
  namespace fs = std::filesystem;
  const TemporaryFile old("old.bin", ""), state("new.bin", "");
  const std::string attributes = golden + "/attributes.csv";
  const TemporaryFile to_old("old.cfg", config_text(attributes, "final_state = " + old.path())),
      to_new("new.cfg", config_text(attributes, "final_state = " + state.path()));
  fs::remove(state.path());
  for (const TemporaryFile* config : {&to_old, &to_new}) {
    Catchments model;
    model.Initialize(config->path());
    set_day(model, 0);
    model.Update();
    model.Finalize();
  }
  CHECK_EQUAL(bytes_of(state.path()).size(), 320u);
  CHECK(bytes_of(state.path()) == bytes_of(old.path()));
  CHECK(bytes_of(state.path()) != std::string(320, '\0'));
  CHECK(!fs::exists(state.path() + ".part"));
}

TEST("states are regular files") {
  namespace fs = std::filesystem;
  const char* const message = ": expected a file, got a folder, a pipe, a socket or a device";
  const std::string attributes = golden + "/attributes.csv";
  const TemporaryFile pipe("pipe", ""), folder("folder", ""), link("link", ""), state("state.bin", "old");
  const auto spoil = [&](const TemporaryFile& file) {
    fs::remove(file.path());
    if (&file == &pipe) CHECK_EQUAL(::mkfifo(pipe.path().c_str(), 0600), 0);
    if (&file == &folder) fs::create_directory(folder.path());
    if (&file == &link) fs::create_symlink(pipe.path(), link.path());
  };
  for (const TemporaryFile* file : {&pipe, &folder, &link}) {
    const check::Context context(file->path());
    refused_place(file->path(), [&] { spoil(*file); }, file->path() + message);
    refused(config_text(attributes, "initial_state = " + file->path()), (file->path() + message).c_str());
  }
  CHECK(fs::is_fifo(pipe.path()) && fs::is_directory(folder.path()) && fs::is_symlink(link.path()));

  // Nor is what has the name of the file before it is renamed replaced.
  const TemporaryFile part(state.path() + ".part", "", "");
  const auto put_folder = [&] {
    fs::remove(part.path());
    fs::create_directory(part.path());
  };
  refused_place(state.path(), put_folder, part.path() + message);
  CHECK(fs::is_directory(part.path()));
  CHECK_EQUAL(bytes_of(state.path()), "old");
}

TEST("a link to nothing is left as it is") {
  namespace fs = std::filesystem;
  const TemporaryFile link("link", ""), other(".part", "of others", "");
  const auto put_link = [&] {
    fs::remove(link.path());
    fs::create_symlink("no such file", link.path());
  };
  refused_place(link.path(), put_link, "the state cannot be written");
  CHECK(fs::is_symlink(link.path()));
  CHECK_EQUAL(bytes_of(other.path()), "of others");
}

TEST("a state that is stored continues with the same bits") {
  const TemporaryFile state("state.bin", "");
  const TemporaryFile first("first.cfg", config_text(golden + "/attributes.csv", "final_state = " + state.path()));
  const TemporaryFile second("second.cfg", config_text(golden + "/attributes.csv", "initial_state = " + state.path()));
  Catchments whole, begun, resumed;
  whole.Initialize(golden + "/catchments.cfg");
  begun.Initialize(first.path());
  for (int day = 0; day < 5; ++day) {
    set_day(whole, day);
    set_day(begun, day);
    whole.Update();
    begun.Update();
  }
  begun.Finalize();
  resumed.Initialize(second.path());
  set_day(whole, 5);
  set_day(resumed, 5);
  whole.Update();
  resumed.Update();
  CHECK_SAME_BITS(values_of(resumed, "discharge"), values_of(whole, "discharge"));
  std::ofstream(state.path(), std::ios::app) << 'x';
  CHECK_THROWS(resumed.Initialize(second.path()), "expected a state of 320 bytes");
  std::ofstream(state.path(), std::ios::trunc) << "short";
  CHECK_THROWS(resumed.Initialize(second.path()), "expected a state of 320 bytes");
}

TEST("a stored state that is not there is not one of another size") {
  refused(config_text(golden + "/attributes.csv", "initial_state = no state.bin"), "no state.bin: cannot be opened");
}

TEST("a byte-order mark is skipped") {
  const std::string mark = "\xEF\xBB\xBF";
  const TemporaryFile table("table.csv", mark + "name,lon,lat,slope,forest\n" + mark + "a,1,2,0.5,0.25\n"),
      config("mark.cfg", mark + config_text(table.path()));
  Catchments model;
  model.Initialize(config.path());
  CHECK_EQUAL(model.GetGridSize(0), 1);
  refused(mark + mark + config_text(table.path()), "line 1: unknown key");
}

TEST("an error of Initialize leaves the threads of the process as they were") {
  const std::string attributes = golden + "/attributes.csv";
  const int before = lstmcore_get_num_threads();
  const std::string threads = "threads = " + std::to_string(before + 1) + "\n";
  refused(config_text(attributes, threads + "initial_state = no state.bin"), "cannot be opened");
  CHECK_EQUAL(lstmcore_get_num_threads(), before);
  refused(config_text(attributes, "threads = 5000"), "expected 1 to 1024 threads, got 5000");
  CHECK_EQUAL(lstmcore_get_num_threads(), before);
  const TemporaryFile config("threads.cfg", config_text(attributes, threads));
  Catchments model;
  model.Initialize(config.path());
  CHECK_EQUAL(lstmcore_get_num_threads(), before + 1);
  CHECK_EQUAL(lstmcore_set_num_threads(before), LSTMCORE_OK);
}

TEST("calls before Initialize and after Finalize") {
  Catchments component;
  bmi::Bmi& model = component;
  CHECK_THROWS(model.Update(), "call Initialize first");
  CHECK_THROWS(model.GetValuePtr("discharge"), "call Initialize first");
  CHECK_THROWS(model.GetGridSize(0), "call Initialize first");
  CHECK_THROWS(model.Finalize(), "call Initialize first");
  model.Initialize(golden + "/catchments.cfg");
  model.Finalize();
  CHECK_THROWS(model.GetCurrentTime(), "call Initialize first");
  model.Initialize(golden + "/catchments.cfg");  // again
  CHECK_EQUAL(model.GetCurrentTime(), 0.0);
}

TEST("files that cannot be understood") {
  Catchments model;
  CHECK_THROWS(model.Initialize("no such file.cfg"), "no such file.cfg: cannot be opened");
  CHECK_THROWS(model.Initialize(golden), (golden + ": expected a file, got a folder").c_str());
  refused(config_text(golden), (golden + ": expected a file, got a folder").c_str());
  const std::string attributes = golden + "/attributes.csv";
  refused("model = x\n", "expected the keys model, attributes, forcings and outputs");
  refused(config_text(attributes, "colour = blue\n"), "line 5: unknown key \"colour\"");
  refused(config_text(attributes, "nonsense\n"), "line 5: expected \"key = value\", got \"nonsense\"");
  refused(config_text(attributes, "time_step = soon\n"), "expected a decimal number, got \"soon\"");
  refused(config_text(attributes, "time_step = -1\n"), "expected a number above 0, got -1");
  const std::string files = "model = " + golden + "/catchments.safetensors\nattributes = " + attributes + "\n";
  refused(files + "outputs = discharge\n", "expected names with units");
  refused(files + "forcings = a [K], b [K], c [K]\noutputs = discharge [mm]\n",
          "the model has 2 outputs, but the config file has 1");
  refused(files + "forcings = temperature [K]\noutputs = discharge [mm], soil [mm]\n",
          "the model has 5 inputs, but the config file has 3 forcings and attributes");
  refused(config_text("no table.csv"), "no table.csv: cannot be opened");
  refused(config_text(golden + "/catchments.cfg"), "expected at least the columns name, longitude and latitude");
  refused("model = " + attributes + "\nattributes = " + attributes + "\nforcings = a [K]\noutputs = q [mm]\n",
          "not a safetensors file");
  refused(config_text(attributes, "threads = 5000\n"), "expected 1 to 1024 threads, got 5000");
  const TemporaryFile short_row("table.csv", "name,lon,lat,slope,forest\na,1,2,3\n");
  refused(config_text(short_row.path()), "line 2: expected 5 columns, got 4");
  const TemporaryFile open_end("table.csv", table_text("3,"));
  refused(config_text(open_end.path()), "line 2: expected a decimal number, got \"\"");
  for (const char* const bad : {"1e300", "-3.5e38"}) {
    const TemporaryFile too_large("table.csv", table_text("3," + std::string(bad)));
    refused(config_text(too_large.path()),
            ("line 2: expected a number that is finite as float, got " + std::string(bad)).c_str());
  }
  const TemporaryFile no_rows("table.csv", "name,lon,lat,slope,forest\n");
  refused(config_text(no_rows.path()), "expected at least one catchment");
}

TEST("numbers of config files are decimal, and those of threads whole") {
  const std::string attributes = golden + "/attributes.csv";
  for (const char* const text :
       {"0x10", "inf", "nan", "1e5x", "1 2", "1.2.3", "1-2", "--1", "1e", "1e+", "e5", ".", "+", "1,5"}) {
    refused(config_text(attributes, "time_step = " + std::string(text)), "line 5: expected a decimal number, got");
  }
  for (const char* const text :
       {"1e-320", "1e-400", "-0.1e-400", "1e-301", "1e301", "1e400", "-1e99999", "1e999999999999"}) {
    refused(config_text(attributes, "time_step = " + std::string(text)),
            ("line 5: expected 0 or a number from 1e-300 to 1e300, of either sign, got " + std::string(text)).c_str());
  }
  for (const char* const text : {"0e99999", "-0.00", "0"}) {
    refused(config_text(attributes, "time_step = " + std::string(text)), "line 5: expected a number above 0, got");
  }
  for (const char* const text : {"5.", "+5", "0.5e1", ".5e+1", "500E-2"}) {
    const TemporaryFile config("number.cfg", config_text(attributes, "time_step = " + std::string(text)));
    Catchments model;
    model.Initialize(config.path());
    CHECK_EQUAL(model.GetTimeStep(), 5.0);
  }
  for (const char* const text : {"0.5", "1.5", "-1", "0", "1e300"}) {
    refused(config_text(attributes, "threads = " + std::string(text)), "line 5: expected a whole number above 0, got");
  }
}

TEST("each key and each variable occurs once") {
  const std::string attributes = golden + "/attributes.csv";
  refused(config_text(attributes, "time_step = 1\ntime_step = 1\n"),
          "line 6: the key \"time_step\" occurs a second time");
  refused(config_text(attributes, "outputs = discharge [mm], soil [mm]\n"), "the key \"outputs\" occurs a second time");
  refused(config_text(attributes, "final_state =  # none\n"), "line 5: expected a value for \"final_state\"");
  const std::string files = "model = " + golden + "/catchments.safetensors\nattributes = " + attributes + "\n";
  refused(files + "forcings = a [mm], b [mm], a [degC]\noutputs = discharge [mm], soil [mm]\n",
          "expected a name of its own for each forcing and output, got \"a\" twice");
  refused(files + "forcings = a [mm], b [mm], c [mm]\noutputs = c [mm], soil [mm]\n", "got \"c\" twice");
  for (const char* const forcings : {"a [mm], b [mm],", "a [mm] [degC]", "a [mm]]", "a]"}) {
    refused(files + "forcings = " + forcings + "\noutputs = discharge [mm], soil [mm]\n",
            "line 3: expected names with units, such as");
  }
  for (const char* const forcings : {"[mm]", "a [mm], [mm]", "a [mm],  [mm], b [mm]"}) {
    refused(files + "forcings = " + forcings + "\noutputs = discharge [mm], soil [mm]\n",
            "line 3: expected a name before the units, got \"[mm]\"");
  }
}

TEST("blank lines of the table are skipped") {
  const TemporaryFile table("table.csv", table_text("0.5,0.25") + "\n \t\r\n");
  const TemporaryFile config("blank.cfg", config_text(table.path()));
  Catchments model;
  model.Initialize(config.path());
  CHECK_EQUAL(model.GetGridSize(0), 1);
}

TEST("the module exports its two functions alone") {
  void* const module = dlopen(LSTMCORE_MODULE, RTLD_NOW | RTLD_LOCAL);
  CHECK(module != nullptr);
  if (module == nullptr) return;
  for (const char* const hidden : {"_ZTVN10catchments10CatchmentsE", "_ZTIN10catchments10CatchmentsE",
                                   "_ZN10catchments10Catchments6UpdateEv", "lstmcore_stream_step"}) {
    CHECK(dlsym(module, hidden) == nullptr);
  }
  CHECK(dlsym(module, "bmi_model_create") != nullptr && dlsym(module, "bmi_model_destroy") != nullptr);
  dlclose(module);
}

TEST("a framework loads the module") {
  void* const module = dlopen(LSTMCORE_MODULE, RTLD_NOW | RTLD_LOCAL);
  CHECK(module != nullptr);
  if (module == nullptr) return;
  auto* const create = reinterpret_cast<bmi::Bmi* (*)()>(dlsym(module, "bmi_model_create"));
  auto* const destroy = reinterpret_cast<void (*)(bmi::Bmi*)>(dlsym(module, "bmi_model_destroy"));
  CHECK(create != nullptr && destroy != nullptr);
  if (create == nullptr || destroy == nullptr) return;
  bmi::Bmi* const model = create();
  model->Initialize(golden + "/catchments.cfg");
  set_day(*model, 0);
  model->Update();
  CHECK_ARRAYS_CLOSE(values_of(*model, "discharge"), expected(0, 0), 2e-6);
  destroy(model);
}
