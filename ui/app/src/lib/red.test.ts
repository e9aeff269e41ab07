import { expect, test } from "vitest";

import { rates } from "./red";

test("a bucket that a range covers in part is measured by that part, and tells nothing when it is too small", () => {
  // Buckets of 60 s from 0; the range begins 30 s into the first and ends 10 s into the last.
  expect(rates([30, 60, 120, 5], 30_000, 190_000, 60)).toEqual([1, 1, 2, null]);
  expect(rates([60, 60], 0, 120_000, 60)).toEqual([1, 1]);
});
