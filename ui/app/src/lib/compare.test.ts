import { describe, expect, it } from "vitest";

import { type Comparison, compare, differing } from "./compare";
import { waterfall } from "./trace";
import type { Span } from "./types";

function span(name: string, depth: number, start: number, duration: number, more: Partial<Span> = {}): Span {
  return {
    trace_id: "t", span_id: `${name}-${start}`, name, service: "s", kind: "internal", start_time: String(1_700_000_000_000_000_000n + BigInt(start)),
    duration: String(duration), status: { code: "unset" }, attributes: {}, resource: {}, scope: {}, events: [], links: [], depth, ...more,
  };
}
const rows = (...spans: Span[]) => waterfall(spans).rows;
const shown = (comparison: Comparison) => comparison.rows.map((row) => `${" ".repeat(row.depth)}${row.name} ${row.state}: ${row.a ? `${row.a.count}/${row.a.duration}` : "–"} ${row.b ? `${row.b.count}/${row.b.duration}` : "–"}`);

describe("compare", () => {
  it("aligns operations by their way from the root and marks what only one has", () => {
    const a = rows(span("checkout", 0, 0, 100), span("cart", 1, 10, 20), span("pay", 1, 40, 50), span("select", 2, 45, 10));
    const b = rows(span("checkout", 0, 0, 400), span("cart", 1, 10, 25), span("cart", 1, 40, 25), span("pay", 1, 70, 300), span("retry", 2, 80, 250));
    const found = compare(a, b);
    expect(shown(found)).toEqual(["checkout same: 1/100 1/400", " cart count differs: 1/20 2/50", " pay same: 1/50 1/300", "  select only a: 1/10 –", "  retry only b: – 1/250"]);
    expect([found.only_a, found.only_b]).toEqual([1, 1]);
    expect(found.rows.map((row) => row.after)).toEqual([5, 2, 5, 4, 5]);
    expect(found.rows.map((row) => row.delta)).toEqual([300, 30, 250, -10, 250]);
  });
  it("tells in which operations themselves the time went", () => {
    const a = rows(span("checkout", 0, 0, 100), span("pay", 1, 10, 80));
    const b = rows(span("checkout", 0, 0, 1_000), span("pay", 1, 10, 970));
    expect(compare(a, b).own.map((each) => [each.name, each.b - each.a])).toEqual([["pay", 890], ["checkout", 10]]);
  });
  it("takes the same name of another service for another operation", () => {
    const found = compare(rows(span("get", 0, 0, 10, { service: "x" })), rows(span("get", 0, 0, 10, { service: "y" })));
    expect(found.rows.map((row) => row.state)).toEqual(["only a", "only b"]);
  });
  it("counts errors, and points at the span that failed", () => {
    const bad = span("pay", 1, 20, 5, { status: { code: "error" } });
    const found = compare(rows(span("c", 0, 0, 50), span("pay", 1, 10, 5), bad), rows(span("c", 0, 0, 50), span("pay", 1, 10, 5), span("pay", 1, 20, 5)));
    expect(found.rows[1]?.a).toMatchObject({ count: 2, errors: 1, span_id: "pay-20" });
    expect(differing(found.rows, 50).map((row) => row.name)).toEqual(["c", "pay"]);
  });
  it("leaves out what is alike, but not the way to what differs", () => {
    const a = rows(span("c", 0, 0, 100), span("same", 1, 0, 10), span("x", 1, 20, 50), span("y", 2, 20, 50), span("z", 2, 20, 1));
    const b = rows(span("c", 0, 0, 100), span("same", 1, 0, 10), span("x", 1, 20, 50), span("y", 2, 20, 20), span("z", 2, 20, 1));
    expect(differing(compare(a, b).rows, 100).map((row) => row.name)).toEqual(["c", "x", "y"]);
    expect(differing(compare(a, a).rows, 100)).toEqual([]);
  });
  it("takes traces of ten thousand spans, flat or deep, and none at all", () => {
    const flat = rows(...Array.from({ length: 10_000 }, (_, index) => span(`f${index}`, index === 0 ? 0 : 1, index, 10)));
    const deep = rows(...Array.from({ length: 10_000 }, (_, index) => span(`d${index}`, index, index, 20_000)));
    const begun = performance.now();
    const found = compare(flat, deep);
    differing(found.rows, 1);
    expect(found.rows).toHaveLength(20_000);
    expect(performance.now() - begun).toBeLessThan(2_000);
    expect(compare([], []).rows).toEqual([]);
  });
});
