import { describe, expect, it } from "vitest";

import { parse, sum } from "../screens/status/exposition";
import { csv } from "../screens/sql/result";
import { split_threshold } from "./alerting";
import { budget_left, count, duration, left_of, level, millis, rate, share, term } from "./format";
import { identify, may_be_id } from "./identify";
import { parse_time } from "./parse_time";
import { shown_shape } from "./patterns";
import { suggestion } from "./promql";
import { judge } from "./red";

describe("identify", () => {
  it.each([
    ["4bf92f3577b34da6a3ce929d0e0e4736", "trace"], ["00f067aa0ba902b7", "span"], ["ORD-2026-000969-r2", "id"],
    ["e45b1727-680a-42ad-b9ce-28ed04f9a43d", "id"], ["payment", "words"], ["service:payment123", "words"], ["connection pool 500", "words"],
  ])("%s is %s", (text, kind) => expect(identify(text)).toBe(kind));
  it("takes one word with a digit for what may be an ID", () => {
    expect(["WALK-77", "a1", "payment", "pool 500", "level:5", "/v1/x", "err*5"].map(may_be_id)).toEqual([true, true, false, false, false, false, false]);
  });
});

describe("format", () => {
  it("shows three digits with the unit that fits", () => {
    expect([duration("9071924822"), duration(623_000), duration(0), duration(undefined)]).toEqual(["9.07 s", "623 µs", "0", "–"]);
    expect([count(1_234), count(56_789), count("12345678")]).toEqual(["1,234", "56.8 k", "12.3 M"]);
    expect([share(0.5), share(0.00001), share(null), share(0.1234), share(0.006, 0), share(0.06, 0)]).toEqual(["50 %", "<0.1 %", "–", "12.3 %", "<1 %", "6 %"]);
  });
  it("counts what is rare, and tells the rest a second, a minute, an hour or a day", () => {
    expect([rate(1620, 3_600), rate(1, 3_600), rate(9, 86_400), rate(300, 3_600), rate(12, 7_200), rate(12, 604_800), rate(0, 60)]).toEqual(["0.45/s", "1 request", "9 requests", "5/min", "6/h", "1.71/day", "0/s"]);
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
  it("knows nothing of what was never measured", () => {
    expect([left_of({ left_share: 1, total: 0 }), left_of({ left_share: 0.4, total: 9 }), left_of(null)]).toEqual([undefined, 0.4, undefined]);
  });
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
  const judged = (now: [number, number, number], before: [number, number, number]) => {
    const part = ([requests, errors, p95]: [number, number, number]) => ({ requests, errors, p95: p95 * 1e6 });
    const one = { name: "a", requests: [], errors: [], p95: [], total: 0, now: part(now), before: part(before), fails: false, badness: 0, words: "" };
    judge(one);
    return one;
  };
  it("says what fails now and how it was before", () => {
    expect(judged([1_000, 400, 5_000], [1_000, 0, 50]).words).toBe("40 % of requests fail; p95 went from 50 ms to 5 s");
    expect(judged([1_000, 400, 50], [1_000, 20, 50]).words).toBe("40 % of requests fail, 2 % before");
    expect(judged([1_000, 0, 50], [1_000, 0, 50])).toMatchObject({ badness: 0, words: "", fails: false });
  });
  it("takes few for chance, and what hits many for worse", () => {
    expect(judged([1, 1, 9_000], [1, 0, 5])).toMatchObject({ badness: 0, words: "", fails: false });
    expect(judged([3, 3, 5], [0, 0, Number.NaN])).toMatchObject({ fails: true, words: "100 % of requests fail" });
    const badness = [judged([1_000, 400, 50], [1, 0, 50]), judged([10_000, 450, 50], [1, 0, 50]), judged([3, 3, 50], [1, 0, 50])].map((one) => one.badness);
    expect(badness).toEqual([...badness].sort((one, other) => other - one));
  });
});

describe("suggestion", () => {
  it("goes by the kind, and by the name where there is none", () => {
    expect(suggestion("db_client_connection_count", "gauge")).toBe("db_client_connection_count");
    expect(suggestion("requests", "counter")).toBe("sum by (job) (rate(requests[5m]))");
    expect(suggestion("requests_total", "unknown")).toBe("sum by (job) (rate(requests_total[5m]))");
    expect(suggestion("x_seconds_bucket", "histogram")).toBe("histogram_quantile(0.95, sum by (le, job) (rate(x_seconds_bucket[5m])))");
    expect(suggestion("up", undefined)).toBe("up");
  });
});

describe("shown_shape", () => {
  it("writes what varies in one way", () => expect(shown_shape("waited <*> for <*>")).toBe("waited … for …"));
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
