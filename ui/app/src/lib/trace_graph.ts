import { duration, share, some, text } from "./format";
import { type MapCall, type MapNode, type ServiceMap, node_id } from "./graph";
import { type Row, covered, own_times } from "./trace";

interface Sum { name: string; kind: MapNode["kind"]; spans: number; errors: number; own: [number, number][]; began: boolean }
interface Calls { from: string; to: string; kind: MapCall["kind"]; times: number; errors: number; total: number; longest: number }

/** What a client's span calls when nothing answered with a span of its own. */
function outside(row: Row, has_children: boolean): { kind: "database" | "external"; name: string } | undefined {
  const { attributes, kind } = row.span;
  if (kind !== "client") return undefined;
  const system = text(attributes["db.system.name"] ?? attributes["db.system"]);
  if (system) return { kind: "database", name: [system, text(attributes["db.namespace"] ?? attributes["db.name"])].filter(Boolean).join(" ") };
  const address = text(attributes["peer.service"] ?? attributes["server.address"]);
  return address && !has_children ? { kind: "external", name: address } : undefined;
}

/** The services of a trace and how often they called each other; how long a service did something itself, without waiting, is its share. */
export function trace_map(rows: Row[], total: number): ServiceMap {
  const sums = new Map<string, Sum>();
  const calls = new Map<string, Calls>();
  const sum = (id: string, name: string, kind: Sum["kind"]): Sum => {
    let one = sums.get(id);
    if (!one) sums.set(id, (one = { name, kind, spans: 0, errors: 0, own: [], began: false }));
    return one;
  };
  const call = (from: string, to: string, kind: MapCall["kind"], row: Row, failed: boolean) => {
    const key = JSON.stringify([from, to, kind]);
    let one = calls.get(key);
    if (!one) calls.set(key, (one = { from, to, kind, times: 0, errors: 0, total: 0, longest: 0 }));
    one.times += 1;
    one.errors += failed ? 1 : 0;
    one.total += row.duration;
    one.longest = Math.max(one.longest, row.duration);
  };
  const open: Row[] = [];
  for (const row of rows) {
    while (open.length > 0 && (open.at(-1) as Row).depth >= row.depth) open.pop();
    const parent = open.at(-1);
    const own = sum(node_id("service", row.span.service), row.span.service, "service");
    own.spans += 1;
    own.errors += row.is_error ? 1 : 0;
    // An error without one below it was not handed on by somebody else.
    own.began ||= row.is_error && row.errors_below === 0;
    const target = outside(row, row.after > row.index + 1);
    let at_work = own;
    if (target) {
      const id = node_id(target.kind, target.name);
      const there = sum(id, target.name, target.kind);
      there.spans += 1;
      there.errors += row.is_error ? 1 : 0;
      at_work = there;
      call(row.span.service, id, "call", row, row.is_error);
    }
    for (const time of own_times(rows, row)) at_work.own.push(time);
    if (parent && parent.span.service !== row.span.service) {
      const kind = row.span.kind === "consumer" ? "message" : "call";
      call(parent.span.service, row.span.service, kind, row, row.is_error || (parent.span.kind === "client" && parent.is_error));
    }
    open.push(row);
  }
  const told = (self: number) => `${duration(self)} (${share(self / Math.max(1, total), 0)})`;
  return {
    nodes: [...sums].map(([id, { name, kind, spans, errors, own, began }]) => ({
      id, name, kind, facts: [some(spans, kind === "service" ? "span" : "call"), told(covered(own))].join(" · "), bad: errors > 0 ? Math.max(0.02, errors / spans) : 0,
      mark: began ? "failed here" : undefined,
    })),
    calls: [...calls.values()].map(({ from, to, kind, times, errors, total: all, longest }) => ({
      from, to, kind, lines: [[times > 1 ? `${times} ×` : "", duration(all)].filter(Boolean).join(" · "), errors > 0 ? `${errors} failed` : ""].filter(Boolean), facts: [times > 1 ? `${times} ×` : "", errors > 0 ? `${errors} failed` : "", duration(all)].filter(Boolean).join(" · "), bad: errors > 0 ? Math.max(0.02, errors / times) : 0,
      weight: all, requests: times, errors, p95: longest,
    })),
  };
}
