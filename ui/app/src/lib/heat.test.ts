import { describe, expect, it } from "vitest";

import { span_condition } from "../screens/traces/condition";
import { classic_heat, duration_nanos, folded, latency_heat, latency_sql, native_heat, spread, strength } from "./heat";

describe("latency_heat", () => {
  const at = (seconds: number) => String(BigInt(seconds) * 1_000_000_000n);
  it("places what the server counted in columns of time and rows of a logarithm", () => {
    const heat = latency_heat([{ t: at(120), d: "36", n: "5", e: "0" }, { t: at(180), d: "38", n: "1", e: "1" }, { t: at(9_000), d: "36", n: "7", e: "0" }], 125_000, 240_000, 60);
    expect(heat.times).toEqual([120_000, 180_000]);
    expect(heat.bounds.map((bound) => Math.round(bound / 1e4) / 1e2)).toEqual([1, 1.47, 2.15, 3.16]);
    expect(heat.cells).toEqual([{ column: 0, row: 0, value: 5, bad: 0 }, { column: 1, row: 2, value: 1, bad: 1 }]);
  });
  it("of nothing has no rows", () => expect(latency_heat([], 0, 60_000, 60)).toMatchObject({ bounds: [], cells: [] }));
  it("asks for the same width in SQL", () => expect(latency_sql("name = 'x'", 30)).toMatch(/INTERVAL '30 seconds'[^]*\* 6[^]*name = 'x'/));
});

describe("classic_heat", () => {
  it("takes cumulative buckets apart, adds series up, and never counts below nothing", () => {
    const heat = classic_heat([0, 60_000], [
      { labels: { le: "+Inf" }, values: [10, 4] }, { labels: { le: "0.1" }, values: [3, 5] }, { labels: { le: "1" }, values: [6, null] }, { labels: { le: "1", job: "b" }, values: [2, 1] },
    ]);
    expect(heat?.bounds).toEqual([0, 0.1, 1, Infinity]);
    expect(heat?.cells).toEqual([{ column: 0, row: 0, value: 3, bad: 0 }, { column: 1, row: 0, value: 5, bad: 0 }, { column: 0, row: 1, value: 5, bad: 0 }, { column: 0, row: 2, value: 2, bad: 0 }, { column: 1, row: 2, value: 3, bad: 0 }]);
  });
  it("is none for other series", () => {
    expect(classic_heat([0], [{ labels: { job: "x" }, values: [1] }])).toBeUndefined();
    expect(classic_heat([0], [{ labels: { le: "1" }, values: [1] }])).toBeUndefined();
    expect(classic_heat([0], [])).toBeUndefined();
  });
});

describe("native_heat", () => {
  it("lays buckets of different widths side by side", () => {
    const heat = native_heat([0, 60_000], [{ column: 0, buckets: [{ low: 1, high: 2, count: 4 }, { low: 2, high: 4, count: 2 }] }, { column: 1, buckets: [{ low: 1, high: 4, count: 6 }] }]);
    expect(heat?.bounds).toEqual([1, 2, 4]);
    const of = (column: number) => heat?.cells.filter((cell) => cell.column === column).map((cell) => [cell.row, Math.round(cell.value * 100) / 100]);
    expect([of(0), of(1)]).toEqual([[[0, 4], [1, 2]], [[0, 3], [1, 3]]]);
  });
  it("puts narrow buckets together and loses nothing by it", () => {
    const buckets = Array.from({ length: 160 }, (_, index) => ({ low: 1.05 ** index, high: 1.05 ** (index + 1), count: 1 }));
    const heat = native_heat([0], [{ column: 0, buckets }]);
    expect(heat?.bounds.length).toBeLessThanOrEqual(61);
    expect(heat?.cells.reduce((sum, cell) => sum + cell.value, 0)).toBeCloseTo(160, 6);
  });
  it("spreads over zero and up to infinity", () => {
    expect(spread([-1, 0, 1], -1, 1)).toEqual([[0, 0.5], [1, 0.5]]);
    expect(spread([1, 2, Infinity], 1, Infinity)).toEqual([[0, 1]]);
  });
});

describe("folded", () => {
  it("takes the mean of columns that are too many", () => {
    const heat = { times: Array.from({ length: 200 }, (_, index) => index), step: 1, bounds: [0, 1], cells: [{ column: 0, row: 0, value: 3, bad: 0 }, { column: 2, row: 0, value: 3, bad: 3 }] };
    expect(folded(heat, 90)).toMatchObject({ step: 3, cells: [{ column: 0, row: 0, value: 2, bad: 1 }] });
    expect(folded(heat, 90).times).toHaveLength(67);
  });
});

describe("strength", () => {
  it("shows one among thousands", () => {
    expect(strength(0, 1_000)).toBe(0);
    expect(strength(1, 1_000)).toBeGreaterThan(0.14);
    expect(strength(1_000, 1_000)).toBe(1);
  });
});

describe("duration_nanos", () => {
  it.each([["500ms", 5e8], ["1m30s", 9e10], ["2.5 s", 2.5e9], ["12us", 12e3], ["", null], ["soon", null], ["5", null], ["5s soon", null]])("%s is %s", (text, nanos) => expect(duration_nanos(text)).toBe(nanos));
});

describe("span_condition", () => {
  it("quotes what was typed", () => expect(span_condition({ service: "a' OR 1=1 --", min_duration: "2s" }).sql).toBe("service_name = 'a'' OR 1=1 --' AND kind IN (2, 5) AND duration >= 2000000000"));
  it("takes whole traces, unless something within them is asked for", () => {
    expect(span_condition({}).sql).toBe("parent_span_id IS NULL");
    expect(span_condition({ status: "error" }).sql).toBe("kind IN (2, 5) AND status_code = 2");
    expect(span_condition({ operation: "x", status: "nonsense" }).sql).toBe("name = 'x'");
  });
});
