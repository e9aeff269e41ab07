import { describe, expect, it } from "vitest";

import { labels_that_fit, nearest } from "../components/map/place";
import { typical_and_slowest } from "./fetch_trace";
import { around, connected, failing, service_map } from "./graph";
import { dated, incident_map, incident_range, order_of_alerts, summary_of, times_of } from "./incident";
import { waterfall } from "./trace";
import { trace_map } from "./trace_graph";
import type { Incident, ServiceGraph, Span, TraceHit } from "./types";
import { changes } from "./versions";

const call = (caller: string, callee: string, errors = "0", callee_kind: "service" | "database" = "service") => ({ caller, callee, callee_kind, kind: "call" as const, requests: "100", errors, p95: "5000000" });
const node = (name: string, errors = "0") => ({ name, kind: "service" as const, requests: "100", errors, p95: "9000000" });
const GRAPH: ServiceGraph = {
  nodes: [node("web"), node("cart"), node("pay", "40"), node("mail"), { name: "db", kind: "database", requests: "10", errors: "0", p95: null }],
  calls: [call("web", "cart"), call("cart", "pay", "40"), call("pay", "db", "0", "database"), call("pay", "mail")],
  sampled_share: 1, truncated: false, partial: false, warnings: [], elapsed_ms: 1,
};
const map = service_map(GRAPH, 50);
const names = (part: { nodes: { id: string }[] }) => part.nodes.map((each) => each.id).sort();

describe("service map", () => {
  it("tells rate, failures and the percentile", () => {
    expect(map.nodes.find((each) => each.name === "pay")?.facts).toBe("2/s · 40\u00a0% fail · 9\u00a0ms".replaceAll("% fail", "%\u00a0fail"));
    expect(map.nodes.find((each) => each.name === "db")).toMatchObject({ id: "database\ndb", facts: "0.2/s" });
    expect(map.calls[1]).toMatchObject({ from: "cart", to: "pay", bad: 0.4, lines: ["2/s · 5\u00a0ms", "40 % fail"] });
  });
  it("shows what is near, along the calls and against them, but not what only shares a callee", () => {
    const more = service_map({ ...GRAPH, nodes: [...GRAPH.nodes, node("other")], calls: [...GRAPH.calls, call("other", "pay")] }, 50);
    expect(names(around(more, "cart", 1))).toEqual(["cart", "pay", "web"]);
    expect(names(around(more, "cart", 2))).toEqual(["cart", "database\ndb", "mail", "pay", "web"]);
    expect(names(around(more, "absent", 1))).toEqual([]);
  });
  it("finds what lies between", () => {
    expect(names(connected(map, ["web", "pay"]))).toEqual(["cart", "pay", "web"]);
    expect(names(connected(map, ["mail", "absent"]))).toEqual(["mail"]);
    expect(names(connected(map, []))).toEqual([]);
  });
  it("shows what fails and who is hit", () => expect(names(failing(map))).toEqual(["cart", "pay"]));
});

describe("incident", () => {
  const alert = (service: string, seconds: number) => ({ name: "Slow", summary: "", labels: null, annotations: null, fingerprint: service, onset: String(BigInt(seconds) * 1_000_000_000n), resolved_at: null, service });
  const incident: Incident = { id: "i", opened_at: "1000000000000", closed_at: null, services: ["web", "pay"], alerts: [alert("web", 1_000), alert("pay", 940), alert("pay", 990), alert("mail", 940)], evidence: { origin: { service: "pay" } } };
  it("knows in which order alerts began; what began together has one place", () => {
    expect([...order_of_alerts(incident)].map(([service, began]) => [service, began.place])).toEqual([["mail", 1], ["pay", 1], ["web", 3]]);
    expect(order_of_alerts(incident).get("web")?.words).toBe("its alert began 1 min after the first");
  });
  it("marks the origin and numbers the services on the map", () => {
    const part = incident_map(map, incident);
    expect(names(part)).toEqual(["cart", "mail", "pay", "web"]);
    expect(part.nodes.filter((each) => each.mark).map((each) => each.name)).toEqual(["pay"]);
    expect(part.nodes.find((each) => each.name === "cart")?.badge).toBeUndefined();
  });
  it("tells when by the time of day", () => {
    const deploys = [{ service: "pay", version: "2", previous: "1", at: "880000000000", change: "deployed", text: "pay 2 (before 1) deployed 1 minutes before" }];
    const evidence = { summary: "It fails. Likely origin: pay 2 (before 1) deployed 1 minutes before", onset: "900000000000", origin: { service: "pay", version: "2" }, deploys };
    const clock = (time: number) => `at ${time / 1e3}`;
    const one = { ...incident, evidence };
    expect(times_of(one)).toEqual([{ what: "deployed", at: 880_000 }, { what: "began", at: 900_000 }, { what: "alerted", at: 1_000_000 }]);
    expect(times_of({ ...one, evidence: { ...evidence, onset: "999000000000", origin: null } })).toEqual([{ what: "alerted", at: 1_000_000 }]);
    expect(summary_of(one, clock)).toBe("It fails. Likely origin: pay 2 (before 1) deployed at 880");
    expect(dated("deployed 1 minutes before", evidence, clock)).toBe("deployed at 880");
    expect(dated("the first to alert", evidence, clock)).toBe("the first to alert");
    expect([times_of({ ...incident, evidence: null }), summary_of({ ...incident, evidence: null }, clock)]).toEqual([[{ what: "alerted", at: 1_000_000 }], undefined]);
  });
  it("looks at the time of the incident", () => {
    expect(incident_range(incident, 2_000_000)).toEqual({ from: 340_000, to: 2_000_000 });
    expect(incident_range({ ...incident, closed_at: "1500000000000" }, 9e9).to).toBe(1_500_000);
    expect(incident_range(incident, 1e9).from).toBe(1e9 - 3 * 36e5);
  });
});

describe("trace map", () => {
  const span = (service: string, depth: number, start: number, duration: number, more: Partial<Span> = {}): Span => ({
    trace_id: "t", span_id: `${service}${start}`, name: "n", service, kind: "server", start_time: String(1_000_000n + BigInt(start)), duration: String(duration), status: { code: "unset" },
    attributes: {}, resource: {}, scope: {}, events: [], links: [], depth, ...more,
  });
  it("counts calls between services, what they did themselves, and what is called outside", () => {
    const spans = [
      span("web", 0, 0, 100_000), span("web", 1, 10_000, 60_000, { kind: "client", status: { code: "error" } }), span("pay", 2, 20_000, 40_000),
      span("pay", 3, 30_000, 20_000, { kind: "client", attributes: { "db.system.name": "postgresql", "db.namespace": "payments" } }), span("web", 1, 80_000, 5_000, { kind: "client", attributes: { "server.address": "bank.example" } }),
    ];
    const found = trace_map(waterfall(spans).rows, 100_000);
    expect(found.nodes.map((each) => `${each.name}: ${each.facts}`)).toEqual(["web: 3 spans · 55 µs (55 %)", "pay: 2 spans · 20 µs (20 %)", "postgresql payments: 1 call · 20 µs (20 %)", "bank.example: 1 call · 5 µs (5 %)"]);
    // What runs at once is no more than the whole.
    const at_once = [span("web", 0, 0, 100_000), span("pay", 1, 10_000, 80_000), span("pay", 1, 20_000, 80_000)];
    expect(trace_map(waterfall(at_once).rows, 100_000).nodes.map((each) => each.facts)).toEqual(["1 span · 10 µs (10 %)", "2 spans · 90 µs (90 %)"]);
    expect(found.nodes.filter((each) => each.mark).map((each) => each.name)).toEqual(["web"]);
    expect(found.calls.map((each) => [each.from, each.to, each.errors])).toEqual([["web", "pay", 1], ["pay", "database\npostgresql payments", 0], ["web", "external\nbank.example", 0]]);
  });
});

describe("rare calls", () => {
  it("are counted", () => {
    const found = service_map({ ...GRAPH, nodes: [{ ...node("web"), requests: "1", errors: "1" }], calls: [] }, 3_600);
    expect(found.nodes[0]?.facts.replaceAll("\u00a0", " ")).toBe("1 request · 100 % fail · 9 ms");
  });
});

describe("changes of a deploy", () => {
  const row = (name: string, part: string, n: number, e: number, p95: number) => ({ name, part, n: String(n), e: String(e), p95: p95 * 1e6 });
  const seconds = { before: 100, after: 50 };
  it("says what became worse, and not what chance makes", () => {
    const list = changes([row("a", "before", 1_000, 5, 50), row("a", "after", 500, 200, 400), row("b", "before", 40, 0, 50), row("b", "after", 40, 1, 60), row("b", "still", 7, 0, 50)], seconds);
    expect(list.map((each) => [each.name, each.verdict, each.words])).toEqual([["a", "worse", "40 % fail, 0.5 % before; p95 400 ms, 50 ms before"], ["b", "same", ""]]);
    expect(list[1]?.still?.requests).toBe(7);
  });
  it("says what became better, and what was not there before", () => {
    const list = changes([row("a", "before", 1_000, 300, 400), row("a", "after", 1_000, 1, 50), row("new", "after", 9, 9, 1)], seconds);
    expect(list.map((each) => [each.name, each.verdict, each.words])).toEqual([["a", "better", "0.1 % fail, 30 % before; p95 50 ms, 400 ms before"], ["new", "same", "not asked before"]]);
  });
});

describe("proposals", () => {
  const hit = (trace_id: string, duration: number, error_count = 0) => ({ trace_id, duration: String(duration), error_count }) as TraceHit;
  it("are the middle of what went well, and the slowest", () => {
    const { typical, slowest, failed } = typical_and_slowest([hit("a", 10), hit("b", 30), hit("c", 20), hit("d", 99, 1)]);
    expect([typical?.trace_id, slowest?.trace_id, failed?.trace_id]).toEqual(["c", "d", "d"]);
    expect(typical_and_slowest([])).toEqual({ typical: undefined, slowest: undefined, failed: undefined });
  });
});

describe("places", () => {
  const at = (x: number, y: number) => ({ x, y, layer: 0 });
  it("walks to what is ahead", () => {
    const nodes = new Map([["a", at(0, 0)], ["b", at(100, 10)], ["c", at(60, 80)], ["d", at(0, 90)]]);
    expect([nearest(nodes, "a", [1, 0]), nearest(nodes, "a", [0, 1]), nearest(nodes, "a", [-1, 0]), nearest(nodes, "b", [-1, 0]), nearest(nodes, "gone", [1, 0])]).toEqual(["b", "d", undefined, "a", undefined]);
  });
  it("keeps labels off nodes and off each other", () => {
    const label = (text: string, x: number, y: number) => ({ lines: [text], at: { x, y } });
    const kept = labels_that_fit([label("first", 100, 100), label("second", 102, 101), label("on a node", 300, 300)], [{ x: 300, y: 300, width: 200, height: 200 }], { width: 1_000, height: 1_000 });
    expect(kept.map((each) => each.lines[0])).toEqual(["first", "second"]);
    expect(kept[1]?.box.y).not.toBe(101);
  });
  it("keeps labels within the picture", () => {
    const [kept] = labels_that_fit([{ lines: ["one", "two"], at: { x: 2, y: 3 } }], [], { width: 1_000, height: 90 });
    // Where a node is in the way, along the line.
    expect(labels_that_fit([{ lines: ["one"], at: { x: 500, y: 10 } }], [{ x: 580, y: 45, width: 150, height: 90 }], { width: 1_000, height: 90 }).map(({ box }) => [box.x < 500, box.y])).toEqual([[true, 10]]);
    expect([(kept?.box.x ?? 0) - (kept?.box.width ?? 0) / 2, (kept?.box.y ?? 0) - (kept?.box.height ?? 0) / 2]).toEqual([0, 0]);
  });
});
