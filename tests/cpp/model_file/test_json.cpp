// The JSON reader, on valid texts and on texts that are almost valid.
#include <string>
#include <vector>

#include "check.hpp"
#include "model_file/json.hpp"

using lstmcore::json::parse;
using lstmcore::json::Value;
using Kind = Value::Kind;

TEST("values") {
  CHECK(parse(" null ").is(Kind::null));
  CHECK(parse("true").is(Kind::boolean) && parse("true").boolean());
  CHECK(parse("false").is(Kind::boolean) && !parse("false").boolean());
  CHECK(parse("\t[ ]\r\n").array().empty());
  CHECK(parse("{ }").is(Kind::object));
  CHECK_EQUAL(parse("[1, [2, 3], {\"a\": 4}]").array()[2].find("a")->integer(), 4);
  const Value object = parse("{\"b\": 1, \"a\": null}");
  CHECK_EQUAL(object.object()[0].name, "b");
  CHECK(object.find("c") == nullptr && object.find("a")->is(Kind::null));
}

TEST("numbers") {
  CHECK_EQUAL(parse("0").integer(), 0);
  CHECK_EQUAL(parse("-12").integer(), -12);
  CHECK_EQUAL(parse("9223372036854775807").integer(), 9223372036854775807);
  CHECK_EQUAL(parse("-9223372036854775808").integer(), -9223372036854775807 - 1);
  CHECK(parse("9223372036854775808").is(Kind::real));  // one too large for an integer
  CHECK_EQUAL(parse("9223372036854775808").real(), 9223372036854775808.0);
  CHECK(parse("1.0").is(Kind::real));
  CHECK_EQUAL(parse("-0.125").real(), -0.125);
  CHECK_EQUAL(parse("1e3").real(), 1000.0);
  CHECK_EQUAL(parse("25E-2").real(), 0.25);
  CHECK_EQUAL(parse("1.5e+2").real(), 150.0);
}

TEST("texts") {
  CHECK_EQUAL(parse("\"\"").string(), "");
  CHECK_EQUAL(parse(R"("a\"\\\/\b\f\n\r\tz")").string(), "a\"\\/\b\f\n\r\tz");
  CHECK_EQUAL(parse(R"("\u0041\u00e9\u20AC\ud83d\ude00")").string(), "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
  CHECK_EQUAL(parse("\"A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"").string(), "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
  CHECK_EQUAL(parse(R"("\u0000")").string(), std::string(1, '\0'));
}

TEST("invalid texts are refused") {
  const std::vector<std::string> texts = {"",
                                          " ",
                                          "nul",
                                          "nulll",
                                          "True",
                                          "[",
                                          "[1",
                                          "[1,",
                                          "[1,]",
                                          "[,1]",
                                          "[1 2]",
                                          "{",
                                          "{\"a\"",
                                          "{\"a\":",
                                          "{\"a\":1",
                                          "{\"a\":1,",
                                          "{\"a\":1,}",
                                          "{a:1}",
                                          "{1:1}",
                                          "{\"a\" 1}",
                                          "]",
                                          "}",
                                          "1 2",
                                          "{} {}",
                                          "01",
                                          "-",
                                          "-01",
                                          "+1",
                                          ".5",
                                          "1.",
                                          "1.e2",
                                          "1e",
                                          "1e+",
                                          "0x1",
                                          "NaN",
                                          "Infinity",
                                          "--1",
                                          "\"",
                                          "\"a",
                                          "\"\\\"",
                                          "\"\\x\"",
                                          "\"\\u12\"",
                                          "\"\\u12g4\"",
                                          "\"\\ud83d\"",
                                          "\"\\ud83dx\"",
                                          "\"\\ud83d\\u0041\"",
                                          "\"\\ude00\"",
                                          "\"\n\"",
                                          "'a'",
                                          "// 1"};
  for (const std::string& text : texts) {
    const check::Context context(text);
    CHECK_THROWS(parse(text), "JSON: ");
  }
  CHECK_THROWS(parse(std::string("\"a\0\"", 4)), "control character");
  CHECK_THROWS(parse("{\"a\": 1, \"a\": 1}"), "\"a\" appears twice");
}

TEST("text that is not UTF-8 is refused") {
  const std::vector<std::string> texts = {"\x80",              // a continuation byte without a first byte
                                          "\xc3",              // cut off
                                          "\xc3(",             // a wrong second byte
                                          "\xc0\xaf",          // longer than necessary
                                          "\xe0\x80\xaf",      // the same
                                          "\xed\xa0\x80",      // half of a surrogate pair
                                          "\xf4\x90\x80\x80",  // beyond the last character
                                          "\xff"};
  for (const std::string& text : texts) CHECK_THROWS(parse("\"" + text + "\""), "UTF-8");
}

TEST("nesting is limited") {
  const auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  CHECK(parse(nested(60)).is(Kind::array));
  CHECK_THROWS(parse(nested(100)), "nested too deeply");
  CHECK_THROWS(parse(std::string(1000000, '[')), "nested too deeply");
}

TEST("values take memory that the text explains") {
  CHECK(sizeof(Value) == 16);
  const auto zeros = [](std::size_t count) {
    std::string text = "[";
    for (std::size_t k = 1; k < count; ++k) text += "0,";
    return text + "0]";
  };
  CHECK_EQUAL(parse(zeros(1000)).array().size(), 1000u);
  CHECK_EQUAL(parse(zeros(1000)).array().capacity(), 1000u);
  CHECK_EQUAL(parse("[\"a,]\\\",\", {\"b,\": [1, 2]}]").array().capacity(), 2u);
  CHECK_THROWS(parse(zeros(1'300'000)), "expected at most 1216666 values");
}
