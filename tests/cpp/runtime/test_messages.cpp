// How messages of errors show texts and lists of a file or a caller.
#include <string>
#include <vector>

#include "check.hpp"
#include "runtime/errors.hpp"

using lstmcore::in_quotes;
using lstmcore::listed;

TEST("lists end after eight names, and long names after a hundred bytes") {
  struct Item {
    std::string name;
  };
  std::vector<Item> items;
  CHECK_EQUAL(listed(items, &Item::name), "");
  for (const char* const name : {"a", "", "c", "d", "e", "f", "g", "h"}) items.push_back({name});
  CHECK_EQUAL(listed(items, &Item::name), "a, , c, d, e, f, g, h");
  items.push_back({"i"});
  CHECK_EQUAL(listed(items, &Item::name), "a, , c, d, e, f, g, h, ...");
  items = {{std::string(101, 'x')}, {std::string(100, 'y')}};
  CHECK_EQUAL(listed(items, &Item::name), std::string(100, 'x') + "..., " + std::string(100, 'y'));
}

TEST("a character is not divided") {
  const std::string accent = "\xC3\xA9", emoji = "\xF0\x9F\x98\x80";
  for (const std::string& character : {accent, emoji}) {
    for (std::size_t before = 100 - character.size() + 1; before < 100; ++before) {
      const std::string begin(before, 'x');
      CHECK_EQUAL(in_quotes(begin + character), "\"" + begin + "...\"");
    }
    const std::string begin(100 - character.size(), 'x');
    CHECK_EQUAL(in_quotes(begin + character), "\"" + begin + character + "\"");
    CHECK_EQUAL(in_quotes(begin + character + "x"), "\"" + begin + character + "...\"");
  }
}
