import { describe, expect, it } from "vitest";

import { parse, sum } from "../screens/status/exposition";
import { csv } from "../screens/sql/result";
import { split_threshold } from "./alerting";
import { budget_left, count, duration, level, millis, share, term } from "./format";
import { identify } from "./identify";
import { judge } from "./red";
import { parse_time } from "./parse_time";

describe("identify", () => {
  it.each([
    ["4bf92f3577b34da6a3ce929d0e0e4736", "trace"], ["00f067aa0ba902b7", "span"], ["ORD-2026-000969-r2", "id"],
    ["e45b1727-680a-42ad-b9ce-28ed04f9a43d", "id"], ["payment", "words"], ["service:payment123", "words"], ["connection pool 500", "words"],
  ])("%s is %s", (text, kind) => expect(identify(text)).toBe(kind));
});

describe("format", () => {
  it("shows three digits with the unit that fits", () => {
    expect([duration("9071924822"), duration(623_000), duration(0), duration(undefined)]).toEqual(["9.07 s", "623 µs", "0", "–"]);
    expect([count(1_234), count(56_789), count("12345678")]).toEqual(["1,234", "56.8 k", "12.3 M"]);
    expect([share(0.5), share(0.00001), share(null), share(0.1234)]).toEqual(["50 %", "<0.1 %", "–", "12.3 %"]);
  });
  it("keeps milliseconds of a nanosecond time", () => expect(millis("1795272116885150589")).toBeCloseTo(1795272116885.15, 2));
  it("names severities as OpenTelemetry does", () => expect([0, 4, 8, 9, 13, 17, 24].map(level)).toEqual(["unspecified", "trace", "debug", "info", "warn", "error", "fatal"]));
  it("quotes what a query would read as syntax", () => {
    expect(term("service", "payment")).toBe("service:payment");
    expect(term("body", 'say "hi" \\ OR', true)).toBe('-body:"say \\"hi\\" \\\\ OR"');
    expect(term("level", "OR")).toBe('level:"OR"');
  });
});

describe("budget_left", () => {
  it("tells an overdrawn budget as how often it was spent", () => expect([budget_left(0.5), budget_left(-25.15), budget_left(null)]).toEqual(["50 %", "26.1 × spent", "–"]));
});

describe("parse_time", () => {
  const now = 1_700_000_000_000;
  it("reads what the API and people write", () => {
    expect(["now", "now-15m", "now + 1h", "2023-11-14T22:13:20Z", "1700000000000000000", "1700000000", "yesterday"].map((text) => parse_time(text, now))).toEqual([now, now - 900_000, now + 3_600_000, now, now, now, null]);
  });
});

describe("csv", () => {
  it("quotes, keeps nanoseconds, and disarms formulas", () => {
    const answer = { columns: [{ name: "time", type: "timestamp" }, { name: "body", type: "text" }, { name: "n", type: "int64" }], rows: [["1700000000123456789", "=1+1, \"x\"", "-5"]], row_count: 1, truncated: false, elapsed_ms: 1, partial: false, warnings: [] };
    expect(csv(answer)).toBe("time,body,n\r\n2023-11-14T22:13:20.123456789Z,\"'=1+1, \"\"x\"\"\",-5\r\n");
  });
});

describe("judge", () => {
  it("says what fails now and how it was before", () => {
    const one = { name: "a", requests: Array(30).fill(100), errors: [...Array(20).fill(0), ...Array(10).fill(40)], p95: [...Array(20).fill(50e6), ...Array(10).fill(5e9)], total: 0, failed: 0, p95_now: 0, error_share: 0, badness: 0, words: "" };
    judge(one);
    expect(one.words).toBe("40 % of requests fail; p95 went from 50 ms to 5 s");
    const well = { ...one, errors: Array(30).fill(0), p95: Array(30).fill(50e6), badness: 0 };
    judge(well);
    expect([well.badness, well.words]).toEqual([0, ""]);
  });
});

describe("split_threshold", () => {
  it("takes the last comparison for the threshold", () => {
    expect(split_threshold("sum(a) / sum(b) > 0.05\n")).toEqual({ expression: "sum(a) / sum(b)", threshold: 0.05, operator: ">" });
    expect(split_threshold("up == 0").threshold).toBe(0);
    expect(split_threshold("absent(up)").threshold).toBeNull();
  });
});

describe("exposition", () => {
  it("reads labels with quotes and sums", () => {
    const samples = parse('# HELP a b\na{x="1",y="q\\"}"} 2\na{x="2"} 3 1700\nb 4');
    expect([sum(samples, "a"), sum(samples, "a", { x: "2" }), sum(samples, "b")]).toEqual([5, 3, 4]);
  });
});
