import { ask } from "./api";
import { duration, rate, share } from "./format";
import type { ServiceGraph } from "./types";

export type NodeKind = "service" | "database" | "external";

/** What is drawn of a service, or of what it calls. */
export interface MapNode {
  id: string;
  name: string;
  kind: NodeKind;
  facts: string;
  /** Of its requests, the share that failed. */
  bad: number;
  /** A mark and what it means, such as the place in a sequence. */
  badge?: { text: string; label: string } | undefined;
  /** What is said of it above it, such as that it is the likely origin. */
  mark?: string | undefined;
  is_focus?: boolean;
}
export interface MapCall {
  from: string;
  to: string;
  kind: "call" | "message";
  facts: string;
  /** The same at the line itself. */
  lines: string[];
  bad: number;
  /** How much goes this way: the line is as strong. */
  weight: number;
  requests: number;
  errors: number;
  p95: number;
}
export interface ServiceMap { nodes: MapNode[]; calls: MapCall[] }

export const node_id = (kind: string, name: string) => (kind === "service" ? name : `${kind}\n${name}`);

/** A failed share that is worth a colour. */
export const BAD = 0.01;

/** Below this a share of failures is no news. */
const WORTH_TELLING = 0.002;

// A number stays with its unit where a text breaks.
const together = (text: string) => text.replaceAll(" ", "\u00a0");
/** Digits of a rate: a box is narrow. */
const PLACES = 2;

function facts(requests: number, errors: number, p95: number, seconds: number): { facts: string; lines: string[] } {
  const failed = errors / Math.max(1, requests);
  const words = failed >= WORTH_TELLING ? `${share(failed, failed >= 0.1 ? 0 : 1)} fail` : "";
  const time = Number.isFinite(p95) ? duration(Number(p95.toPrecision(2))) : "";
  return {
    facts: [rate(requests, seconds, PLACES), words, time].filter(Boolean).map(together).join(" · "),
    lines: [[rate(requests, seconds, PLACES), time].filter(Boolean).map(together).join(" · "), words].filter(Boolean),
  };
}

const nanos = (text: string | null) => (text === null ? Number.NaN : Number(text));

/** The answer of the API, rates over so many seconds. */
export function service_map(graph: ServiceGraph, seconds: number): ServiceMap {
  const callers = new Set(graph.calls.map((call) => call.caller));
  return {
    nodes: graph.nodes.map((node) => {
      const [requests, errors] = [Number(node.requests), Number(node.errors)];
      const told = requests > 0 ? facts(requests, errors, nanos(node.p95), seconds).facts : callers.has(node.name) ? "only calls others" : "no requests";
      return { id: node_id(node.kind, node.name), name: node.name, kind: node.kind, facts: told, bad: errors / Math.max(1, requests) };
    }),
    calls: graph.calls.map((call) => {
      const [requests, errors, p95] = [Number(call.requests), Number(call.errors), nanos(call.p95)];
      return {
        from: call.caller, to: node_id(call.callee_kind, call.callee), kind: call.kind, ...facts(requests, errors, p95, seconds),
        bad: errors / Math.max(1, requests), weight: requests, requests, errors, p95,
      };
    }),
  };
}

export function load_graph(from: number, to: number, signal?: AbortSignal): Promise<ServiceGraph> {
  return ask("/api/v1/service_graph", { start: String(Math.floor(from / 1e3)), end: String(Math.ceil(to / 1e3)) }, signal);
}

/** What can be reached from a node in so many steps, against the calls and along them. */
export function around(map: ServiceMap, id: string, steps: number): ServiceMap {
  const kept = new Set([id]);
  for (const direction of ["callers", "callees"] as const) {
    let edge = new Set([id]);
    for (let step = 0; step < steps; step++) {
      const next = new Set<string>();
      for (const call of map.calls) {
        if (direction === "callees" && edge.has(call.from)) next.add(call.to);
        if (direction === "callers" && edge.has(call.to)) next.add(call.from);
      }
      for (const each of next) kept.add(each);
      edge = next;
    }
  }
  return only(map, kept);
}

export function only(map: ServiceMap, kept: ReadonlySet<string>): ServiceMap {
  return { nodes: map.nodes.filter((node) => kept.has(node.id)), calls: map.calls.filter((call) => kept.has(call.from) && kept.has(call.to)) };
}

/**
 * The named nodes and, when they do not hang together, what lies between: a shortest way from each to those before it, whichever
 * direction is called in.
 */
export function connected(map: ServiceMap, ids: readonly string[]): ServiceMap {
  const known = new Set(map.nodes.map((node) => node.id));
  const wanted = [...new Set(ids)].filter((id) => known.has(id));
  const neighbours = new Map<string, string[]>();
  const add = (one: string, other: string) => {
    const list = neighbours.get(one);
    if (list) list.push(other);
    else neighbours.set(one, [other]);
  };
  for (const call of map.calls) {
    add(call.from, call.to);
    add(call.to, call.from);
  }
  const kept = new Set(wanted.slice(0, 1));
  for (const id of wanted.slice(1)) {
    // A search in breadth finds a shortest way to anything that is kept.
    const before = new Map<string, string | null>([[id, null]]);
    const queue = [id];
    let end: string | undefined;
    for (let index = 0; index < queue.length && end === undefined; index++) {
      const now = queue[index] as string;
      if (kept.has(now)) { end = now; break; }
      for (const next of neighbours.get(now) ?? []) if (!before.has(next)) { before.set(next, now); queue.push(next); }
    }
    kept.add(id);
    for (let at: string | null | undefined = end; at; at = before.get(at)) kept.add(at);
  }
  return only(map, kept);
}

/** Only what fails, or what takes part in it: for a map with more nodes than are seen at once. */
export function failing(map: ServiceMap): ServiceMap {
  const kept = new Set<string>();
  for (const node of map.nodes) if (node.bad > BAD) kept.add(node.id);
  for (const call of map.calls) if (call.bad > BAD) { kept.add(call.from); kept.add(call.to); }
  return only(map, kept);
}
