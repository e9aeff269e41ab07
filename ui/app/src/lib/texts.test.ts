import { describe, expect, it } from "vitest";

import { count, duration, level, millis, share, term } from "./format";
import { identify } from "./identify";

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
