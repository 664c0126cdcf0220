#include "check.hpp"
#include "sequence/schedule.hpp"

using lstmcore::Index;
using lstmcore::RowMap;

TEST("rows that are absent stay absent when they are shifted") {
  const RowMap<float> none;
  CHECK(!none.shifted(3));
  float values[4] = {1, 2, 3, 4};
  const Index zero[1] = {0};
  const RowMap<float> some{values, zero, zero, 4, 4};
  CHECK_EQUAL(*some.shifted(3).at(0, 0), 4.0f);
}
