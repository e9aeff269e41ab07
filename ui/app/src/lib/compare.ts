import type { Row } from "./trace";

/** What one trace has of an operation at a place in the tree. */
export interface Side { count: number; duration: number; self: number; errors: number; start: number; span_id: string }

/** An operation at the same place of two traces: the way from the root is the same, by service, name and kind. */
export interface Aligned {
  service: string;
  name: string;
  kind: string;
  depth: number;
  a: Side | undefined;
  b: Side | undefined;
  state: "same" | "only a" | "only b" | "count differs";
  /** Nanoseconds that b is longer. */
  delta: number;
  /** The index after its last descendant. */
  after: number;
}

export interface Comparison {
  rows: Aligned[];
  only_a: number;
  only_b: number;
  /** Operations by how much more or less time was spent in them themselves, most first. */
  own: { service: string; name: string; a: number; b: number }[];
}

interface Node { service: string; name: string; kind: string; depth: number; a: Side | undefined; b: Side | undefined; children: Map<string, Node> }

/** Aligns two traces, both in reading order. Spans that a trace has several times at one place are one row. */
export function compare(a: Row[], b: Row[]): Comparison {
  const root: Node = { service: "", name: "", kind: "", depth: -1, a: undefined, b: undefined, children: new Map() };
  insert(root, a, "a");
  insert(root, b, "b");
  const rows = flatten(root);
  return { rows, only_a: rows.filter((row) => row.state === "only a").length, only_b: rows.filter((row) => row.state === "only b").length, own: own_times(rows) };
}

function insert(root: Node, rows: Row[], which: "a" | "b") {
  const open: { node: Node; depth: number }[] = [{ node: root, depth: -1 }];
  for (const row of rows) {
    while (open.length > 1 && (open.at(-1) as { depth: number }).depth >= row.depth) open.pop();
    const parent = (open.at(-1) as { node: Node }).node;
    const { service, name, kind } = row.span;
    const key = JSON.stringify([service, name, kind]);
    let node = parent.children.get(key);
    if (!node) parent.children.set(key, (node = { service, name, kind, depth: parent.depth + 1, a: undefined, b: undefined, children: new Map() }));
    const side = (node[which] ??= { count: 0, duration: 0, self: 0, errors: 0, start: row.start, span_id: row.span.span_id });
    side.count += 1;
    side.duration += row.duration;
    side.self += row.self;
    // Of several the one that failed is worth looking at.
    if (row.is_error && side.errors === 0) side.span_id = row.span.span_id;
    side.errors += row.is_error ? 1 : 0;
    side.start = Math.min(side.start, row.start);
    open.push({ node, depth: row.depth });
  }
}

function flatten(root: Node): Aligned[] {
  const rows: Aligned[] = [];
  const in_order = (node: Node) => [...node.children.values()].sort((one, other) => start_of(one) - start_of(other) || (one.name < other.name ? -1 : one.name > other.name ? 1 : 0));
  // Not by recursion: a trace may be ten thousand deep.
  const work: (Node | { closes: Aligned })[] = in_order(root).reverse();
  for (let next = work.pop(); next; next = work.pop()) {
    if ("closes" in next) {
      next.closes.after = rows.length;
      continue;
    }
    const { service, name, kind, depth, a, b } = next;
    const state = !b ? "only a" : !a ? "only b" : a.count !== b.count ? "count differs" : "same";
    const row: Aligned = { service, name, kind, depth, a, b, state, delta: (b?.duration ?? 0) - (a?.duration ?? 0), after: 0 };
    rows.push(row);
    work.push({ closes: row }, ...in_order(next).reverse());
  }
  return rows;
}

const start_of = (node: Node) => node.a?.start ?? node.b?.start ?? 0;

function own_times(rows: Aligned[]): Comparison["own"] {
  const sums = new Map<string, { service: string; name: string; a: number; b: number }>();
  for (const row of rows) {
    const key = JSON.stringify([row.service, row.name]);
    let sum = sums.get(key);
    if (!sum) sums.set(key, (sum = { service: row.service, name: row.name, a: 0, b: 0 }));
    sum.a += row.a?.self ?? 0;
    sum.b += row.b?.self ?? 0;
  }
  return [...sums.values()].sort((one, other) => Math.abs(other.b - other.a) - Math.abs(one.b - one.a));
}

/** The rows that differ, with the way to them. */
export function differing(rows: Aligned[], total: number): Aligned[] {
  const kept = new Array<boolean>(rows.length).fill(false);
  const open: number[] = [];
  rows.forEach((row, index) => {
    while (open.length > 0 && (rows[open.at(-1) as number] as Aligned).after <= index) open.pop();
    open.push(index);
    const differs = row.state !== "same" || row.a?.errors !== row.b?.errors || Math.abs(row.delta) > total * 0.02;
    // Those above a row that is kept are kept up to the first that already is.
    for (let place = open.length - 1; differs && place >= 0 && !kept[open[place] as number]; place--) kept[open[place] as number] = true;
  });
  return rows.filter((_, index) => kept[index]);
}
