import { describe, expect, it } from "vitest";

import { covered, visible, waterfall } from "./trace";
import type { Span } from "./types";

function span(span_id: string, depth: number, start: number, duration: number, more: Partial<Span> = {}): Span {
  return {
    trace_id: "t", span_id, name: span_id, service: "s", kind: "internal", start_time: String(1_700_000_000_000_000_000n + BigInt(start)),
    duration: String(duration), status: { code: "unset" }, attributes: {}, resource: {}, scope: {}, events: [], links: [], depth, ...more,
  };
}
const critical = (spans: Span[]) => waterfall(spans).rows.filter((row) => row.is_critical).map((row) => row.span.span_id);

describe("waterfall", () => {
  it("knows where each subtree ends and what is hidden by collapsing", () => {
    const { rows } = waterfall([span("a", 0, 0, 100), span("b", 1, 0, 50), span("c", 2, 10, 10), span("d", 1, 60, 40)]);
    expect(rows.map((row) => row.after)).toEqual([4, 3, 3, 4]);
    expect(visible(rows, new Set([1])).map((row) => row.span.span_id)).toEqual(["a", "b", "d"]);
    expect(visible(rows, new Set([0])).map((row) => row.span.span_id)).toEqual(["a"]);
  });
  it("keeps nanoseconds that a double would lose", () => {
    const { rows } = waterfall([span("a", 0, 0, 9), span("b", 1, 1, 1)]);
    expect(rows.map((row) => row.start)).toEqual([0, 1]);
  });
  it("takes for critical what ended last, and before it what had to end first", () => {
    expect(critical([span("a", 0, 0, 100), span("b", 1, 0, 40), span("c", 1, 5, 20), span("d", 1, 41, 58)])).toEqual(["a", "b", "d"]);
  });
  it("follows a call that timed out into the server that went on", () => {
    expect(critical([span("client", 0, 0, 100), span("server", 1, 2, 300), span("db", 2, 3, 299)])).toEqual(["client", "server", "db"]);
  });
  it("counts errors below, own time and clocks that differ", () => {
    const bad = { status: { code: "error" as const } };
    const { rows } = waterfall([span("a", 0, 1_000_000, 1_000_000), span("b", 1, 0, 500_000, bad), span("c", 2, 100, 100, bad)]);
    expect(rows.map((row) => row.errors_below)).toEqual([2, 1, 0]);
    expect(rows[1]?.is_skewed).toBe(true);
    expect(rows[0]?.self).toBe(1_000_000);
  });
  it("counts what happened at once once", () => expect(covered([[50, 60], [0, 10], [5, 20], [6, 7]])).toBe(30));
  it("lays out ten thousand spans, flat or deep, at once", () => {
    const flat = Array.from({ length: 10_000 }, (_, index) => span(`f${index}`, index === 0 ? 0 : 1, index, 10));
    const deep = Array.from({ length: 10_000 }, (_, index) => span(`d${index}`, index, index, 20_000));
    const begun = performance.now();
    expect(waterfall(flat).rows[0]?.after).toBe(10_000);
    expect(waterfall(deep).rows[0]?.after).toBe(10_000);
    expect(performance.now() - begun).toBeLessThan(1_000);
  });
});
