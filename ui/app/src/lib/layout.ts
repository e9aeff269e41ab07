// Where the nodes and edges of a directed graph are drawn: layers by who calls whom, few crossings, the same graph always the
// same picture. Nothing here depends on what is measured, so that a refresh moves nothing.

export interface Edge { from: string; to: string }
export interface Point { x: number; y: number }
export interface Placed extends Point { layer: number }
/** How an edge is drawn: the path, the corners of its arrow, and a place for a label. */
export interface Drawn { path: string; arrow: string; label: Point }
export interface Layout { nodes: Map<string, Placed>; edges: (Drawn | undefined)[]; width: number; height: number; is_down: boolean; node_width: number; node_height: number }

/** Callers stand left of what they call; on a narrow screen above it, layers folded into rows. */
export interface Options { width: number; narrow_width: number }
export const OPTIONS: Options = { width: 1000, narrow_width: 640 };

interface Size { width: number; height: number }
/** A node that has room; where there is less it is narrow and as high as its text is when it breaks. */
const NODE: Size = { width: 174, height: 50 };
const NODE_MIN: Size = { width: 118, height: 74 };
const NODE_ROOMY = 166;
const NODE_PHONE_HEIGHT = 78;
const NODE_PHONE_MIN = 94;
/** Beside the nodes of a phone, where long edges pass: they must not seem to come from what they pass behind. */
const MARGIN = 20;
const TRACKS = 5;

const GAP = 14;
const COLUMN_GAP_MIN = 32;
const COLUMN_GAP_MAX = 190;
const ROW_GAP = 34;
const DUMMY = 10;
const SWEEPS = 12;
const RELAXATIONS = 24;
/** A graph of more places than this is nobody's picture: it gets a third of the care. */
const LARGE = 1_500;
/** Beyond so many places for long edges these are drawn straight. */
const DUMMIES_MAX = 4_000;
/** Length and half the width of an arrow. */
const ARROW = 8;
const ARROW_HALF = 4.5;

/** A place in a layer: a node, or where a long edge passes through. */
interface Slot { id: string; layer: number; size: number; at: number; before: Slot[]; after: Slot[] }

const by_name = (one: string, other: string) => (one < other ? -1 : one > other ? 1 : 0);

export function layout(ids: readonly string[], edges: readonly Edge[], wishes: Partial<Options> = {}): Layout {
  const options = { ...OPTIONS, ...wishes };
  const nodes = [...new Set(ids)].sort(by_name);
  const known = new Set(nodes);
  const proper = edges.filter((edge) => edge.from !== edge.to && known.has(edge.from) && known.has(edge.to));
  const layers = layers_of(nodes, forward(nodes, proper));
  const lonely = new Set(nodes.filter((id) => !proper.some((edge) => edge.from === id || edge.to === id)));
  return options.width < options.narrow_width ? rows(nodes, edges, layers, lonely, options) : columns(nodes, edges, layers, lonely, options);
}

/** The edges without those that close a cycle, which are turned round. Walks from what nobody calls, in the order of names. */
export function forward(nodes: readonly string[], edges: readonly Edge[]): Edge[] {
  const targets = new Map<string, string[]>(nodes.map((id) => [id, []]));
  const is_called = new Set<string>();
  const seen_edges = new Set<string>();
  for (const { from, to } of edges) {
    const key = JSON.stringify([from, to]);
    if (seen_edges.has(key)) continue;
    seen_edges.add(key);
    targets.get(from)?.push(to);
    is_called.add(to);
  }
  for (const list of targets.values()) list.sort(by_name);
  const state = new Map<string, "open" | "done">();
  const found: Edge[] = [];
  const starts = [...nodes.filter((id) => !is_called.has(id)), ...nodes];
  for (const start of starts) {
    if (state.has(start)) continue;
    const stack: { id: string; next: number }[] = [{ id: start, next: 0 }];
    state.set(start, "open");
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const to = targets.get(top.id)?.[top.next++];
      if (to === undefined) {
        state.set(top.id, "done");
        stack.pop();
      } else if (state.get(to) === "open") {
        found.push({ from: to, to: top.id });
      } else {
        found.push({ from: top.id, to });
        if (!state.has(to)) {
          state.set(to, "open");
          stack.push({ id: to, next: 0 });
        }
      }
    }
  }
  return found;
}

/** The layer of every node: one after the last of its callers; what nobody calls stands right before the first it calls. */
export function layers_of(nodes: readonly string[], edges: readonly Edge[]): Map<string, number> {
  const callers = new Map<string, number>(nodes.map((id) => [id, 0]));
  const targets = new Map<string, string[]>(nodes.map((id) => [id, []]));
  for (const { from, to } of edges) {
    callers.set(to, (callers.get(to) ?? 0) + 1);
    targets.get(from)?.push(to);
  }
  const layers = new Map<string, number>();
  const roots = nodes.filter((id) => callers.get(id) === 0);
  const queue = [...roots];
  for (const id of queue) layers.set(id, 0);
  for (let index = 0; index < queue.length; index++) {
    const id = queue[index] as string;
    for (const to of targets.get(id) ?? []) {
      layers.set(to, Math.max(layers.get(to) ?? 0, (layers.get(id) ?? 0) + 1));
      const left = (callers.get(to) ?? 1) - 1;
      callers.set(to, left);
      if (left === 0) queue.push(to);
    }
  }
  for (const id of roots) {
    const nearest = Math.min(...(targets.get(id) ?? []).map((to) => layers.get(to) ?? 1));
    if (Number.isFinite(nearest)) layers.set(id, Math.max(0, nearest - 1));
  }
  return layers;
}

/** Groups of nodes that hang together, the largest first: they are drawn one below the other. */
export function parts(nodes: readonly string[], edges: readonly Edge[]): string[][] {
  const neighbours = new Map<string, string[]>(nodes.map((id) => [id, []]));
  for (const { from, to } of edges) {
    if (!neighbours.has(from) || !neighbours.has(to)) continue;
    neighbours.get(from)?.push(to);
    neighbours.get(to)?.push(from);
  }
  const seen = new Set<string>();
  const found: string[][] = [];
  for (const start of nodes) {
    if (seen.has(start)) continue;
    seen.add(start);
    const part = [start];
    for (const id of part) {
      for (const next of neighbours.get(id) ?? []) if (!seen.has(next)) { seen.add(next); part.push(next); }
    }
    found.push(part.sort(by_name));
  }
  return found.sort((one, other) => other.length - one.length || by_name(one[0] ?? "", other[0] ?? ""));
}

/** Layers as columns, with places for the long edges between them. */
function columns(nodes: string[], edges: readonly Edge[], layers: Map<string, number>, lonely: Set<string>, options: Options): Layout {
  const connected = nodes.filter((id) => !lonely.has(id));
  const depth = connected.reduce((most, id) => Math.max(most, (layers.get(id) ?? 0) + 1), 0);
  const gaps = Math.max(0, depth - 1);
  const fitting = (options.width - gaps * COLUMN_GAP_MIN) / Math.max(1, depth);
  const width = Math.floor(Math.min(NODE.width, Math.max(NODE_MIN.width, fitting)));
  const size = { width, height: width < NODE_ROOMY ? NODE_MIN.height : NODE.height };
  const slots = new Map<string, Slot>();
  const chains: (Slot[] | undefined)[] = edges.map(() => undefined);
  let height = 0;
  for (const part of parts(connected, edges)) {
    const found = slots_of(part, edges, layers, depth, size.height);
    order(found.by_layer);
    const top = height > 0 ? height + ROW_GAP : 0;
    height = top + settle(found.by_layer);
    for (const slot of found.by_layer.flat()) slot.at += top;
    for (const [id, slot] of found.slots) slots.set(id, slot);
    found.chains.forEach((chain, index) => { if (chain) chains[index] = chain; });
  }
  const free = (options.width - depth * width) / Math.max(1, gaps);
  const gap = Math.min(COLUMN_GAP_MAX, Math.max(COLUMN_GAP_MIN, free));
  const inner = depth * width + gaps * gap;
  const left = Math.max(0, (options.width - inner) / 2);
  const x_of = (layer: number) => left + layer * (width + gap) + width / 2;
  const placed = new Map<string, Placed>();
  for (const id of connected) {
    const slot = slots.get(id) as Slot;
    placed.set(id, { x: x_of(slot.layer), y: slot.at, layer: slot.layer });
  }
  const bottom = below(lonely, placed, height, options.width, size);
  const ports = ports_of(edges, placed, chains, size);
  const drawn = edges.map((edge, index) => {
    const chain = chains[index];
    return chain ? curve(edge, chain, placed, ports[index] ?? [0, 0], x_of, size) : undefined;
  });
  return { nodes: placed, edges: drawn, width: Math.max(options.width, inner), height: bottom, is_down: false, node_width: size.width, node_height: size.height };
}

/** Nodes without calls stand in rows below the others. */
function below(lonely: Set<string>, placed: Map<string, Placed>, height: number, width: number, size: Size): number {
  const capacity = Math.max(1, Math.floor((width + GAP) / (size.width + GAP)));
  const start = placed.size > 0 ? height + ROW_GAP : 0;
  let index = 0;
  for (const id of lonely) {
    const [column, row] = [index % capacity, Math.floor(index / capacity)];
    placed.set(id, { x: size.width / 2 + column * (size.width + GAP), y: start + size.height / 2 + row * (size.height + GAP), layer: -1 });
    index += 1;
  }
  return index === 0 ? height : start + Math.ceil(index / capacity) * (size.height + GAP) - GAP;
}

/** The places of the edges by their names: the order in which they came must not matter. */
function in_order(edges: readonly Edge[]): number[] {
  const at = (index: number) => edges[index] as Edge;
  return edges.map((_, index) => index).sort((one, other) => by_name(at(one).from, at(other).from) || by_name(at(one).to, at(other).to) || one - other);
}

function slots_of(nodes: string[], edges: readonly Edge[], layers: Map<string, number>, depth: number, size: number) {
  const slots = new Map<string, Slot>(nodes.map((id) => [id, { id, layer: layers.get(id) ?? 0, size, at: 0, before: [], after: [] }]));
  const by_layer: Slot[][] = Array.from({ length: depth }, () => []);
  for (const slot of slots.values()) by_layer[slot.layer]?.push(slot);
  let dummies = 0;
  // The slots of an edge from its left to its right end.
  const chains: (Slot[] | undefined)[] = edges.map(() => undefined);
  for (const index of in_order(edges)) {
    const edge = edges[index] as Edge;
    const [from, to] = [slots.get(edge.from), slots.get(edge.to)];
    if (!from || !to || from === to || from.layer === to.layer) continue;
    const [left, right] = from.layer < to.layer ? [from, to] : [to, from];
    const chain = [left];
    if (dummies + right.layer - left.layer < DUMMIES_MAX) {
      for (let layer = left.layer + 1; layer < right.layer; layer++) {
        const dummy: Slot = { id: `${left.id}\n${right.id}\n${index}`, layer, size: DUMMY, at: 0, before: [], after: [] };
        by_layer[layer]?.push(dummy);
        chain.push(dummy);
        dummies += 1;
      }
    }
    chain.push(right);
    for (let place = 1; place < chain.length; place++) {
      const [one, other] = [chain[place - 1] as Slot, chain[place] as Slot];
      if (other.layer - one.layer !== 1) continue;
      one.after.push(other);
      other.before.push(one);
    }
    chains[index] = chain;
  }
  return { slots, chains, by_layer };
}

const rounds = (by_layer: Slot[][], most: number) => (by_layer.reduce((sum, layer) => sum + layer.length, 0) > LARGE ? Math.ceil(most / 3) : most);

/** Orders the layers so that few edges cross: every slot goes to the middle of its neighbours, forth and back. */
function order(by_layer: Slot[][]) {
  const number = () => { for (const layer of by_layer) layer.forEach((slot, index) => (slot.at = index)); };
  number();
  let best = by_layer.map((layer) => [...layer]);
  let fewest = crossings(by_layer);
  for (let sweep = 0; sweep < rounds(by_layer, SWEEPS) && fewest > 0; sweep++) {
    const is_forth = sweep % 2 === 0;
    const layers = is_forth ? by_layer : [...by_layer].reverse();
    for (const layer of layers) {
      const wanted = new Map(layer.map((slot) => [slot, middle(is_forth ? slot.before : slot.after, slot.at)]));
      layer.sort((one, other) => (wanted.get(one) ?? 0) - (wanted.get(other) ?? 0) || one.at - other.at);
      layer.forEach((slot, index) => (slot.at = index));
    }
    const now = crossings(by_layer);
    if (now < fewest) {
      fewest = now;
      best = by_layer.map((layer) => [...layer]);
    }
  }
  best.forEach((layer, index) => (by_layer[index] = layer));
  number();
}

function middle(slots: Slot[], otherwise: number): number {
  if (slots.length === 0) return otherwise;
  return slots.reduce((sum, slot) => sum + slot.at, 0) / slots.length;
}

/** Pairs of edges between neighbouring layers that cross, counted by insertion into a sorted list of ends. */
export function crossings(by_layer: { at: number; after: { at: number }[] }[][]): number {
  let count = 0;
  for (const layer of by_layer) {
    const ends = layer.flatMap((slot) => slot.after.map((to) => [slot.at, to.at] as const)).sort((one, other) => one[0] - other[0] || one[1] - other[1]);
    const seen: number[] = [];
    for (const [, end] of ends) {
      let [low, high] = [0, seen.length];
      while (low < high) {
        const half = (low + high) >> 1;
        if ((seen[half] as number) <= end) low = half + 1;
        else high = half;
      }
      count += seen.length - low;
      seen.splice(low, 0, end);
    }
  }
  return count;
}

/** Gives every slot its place along the layer, near its neighbours, in the order that was found; answers the height. */
function settle(by_layer: Slot[][]): number {
  for (const layer of by_layer) {
    let at = 0;
    for (const slot of layer) {
      slot.at = at + slot.size / 2;
      at += slot.size + GAP;
    }
  }
  const last = rounds(by_layer, RELAXATIONS);
  for (let round = 0; round < last; round++) {
    const layers = round % 2 === 0 ? by_layer : [...by_layer].reverse();
    for (const layer of layers) {
      pack(layer, layer.map((slot) => {
        const sides = round < last - 2 ? (round % 2 === 0 ? slot.before : slot.after) : [...slot.before, ...slot.after];
        return middle(sides.length > 0 ? sides : [...slot.before, ...slot.after], slot.at);
      }));
    }
  }
  const all = by_layer.flat();
  const top = all.reduce((least, slot) => Math.min(least, slot.at - slot.size / 2), Infinity);
  for (const slot of all) slot.at -= top;
  return all.reduce((most, slot) => Math.max(most, slot.at + slot.size / 2), 0);
}

/** As near to what is wanted as the sizes allow (least squares): neighbours that would overlap move as one block. */
function pack(layer: Slot[], wanted: number[]) {
  const blocks: { from: number; to: number; sum: number; length: number }[] = [];
  // Offsets make all sizes nothing: what remains is that the places must not decrease.
  const offsets: number[] = [];
  layer.forEach((slot, index) => {
    const before = layer[index - 1];
    offsets.push(before ? (offsets[index - 1] ?? 0) + before.size / 2 + slot.size / 2 + GAP : 0);
  });
  layer.forEach((_, index) => {
    let block = { from: index, to: index + 1, sum: (wanted[index] ?? 0) - (offsets[index] ?? 0), length: 1 };
    for (let last = blocks.at(-1); last && last.sum / last.length >= block.sum / block.length; last = blocks.at(-1)) {
      block = { from: last.from, to: block.to, sum: last.sum + block.sum, length: last.length + block.length };
      blocks.pop();
    }
    blocks.push(block);
  });
  for (const block of blocks) {
    for (let index = block.from; index < block.to; index++) (layer[index] as Slot).at = block.sum / block.length + (offsets[index] ?? 0);
  }
}

/** Where each edge leaves and enters its nodes: spread along their sides, in the order of the other ends. */
function ports_of(edges: readonly Edge[], placed: Map<string, Placed>, chains: (Slot[] | undefined)[], size: Size): [number, number][] {
  const ports: [number, number][] = edges.map(() => [0, 0]);
  const sides = new Map<string, { edge: number; end: 0 | 1; toward: number }[]>();
  const add = (key: string, one: { edge: number; end: 0 | 1; toward: number }) => {
    const list = sides.get(key);
    if (list) list.push(one);
    else sides.set(key, [one]);
  };
  const places = in_order(edges);
  const rank = new Map(places.map((edge, index) => [edge, index]));
  for (const edge of places) {
    const { from, to } = edges[edge] as Edge;
    const [source, target, chain] = [placed.get(from), placed.get(to), chains[edge]];
    if (!source || !target || !chain) continue;
    const is_back = target.layer < source.layer;
    const [after_source, before_target] = is_back ? [chain.at(-2), chain[1]] : [chain[1], chain.at(-2)];
    add(`${from}\n${is_back ? "left" : "right"}`, { edge, end: 0, toward: after_source?.at ?? 0 });
    add(`${to}\n${is_back ? "right" : "left"}`, { edge, end: 1, toward: before_target?.at ?? 0 });
  }
  for (const list of sides.values()) {
    list.sort((one, other) => one.toward - other.toward || (rank.get(one.edge) ?? 0) - (rank.get(other.edge) ?? 0));
    const spread = Math.min(9, (size.height - 16) / Math.max(1, list.length - 1));
    list.forEach((one, index) => ((ports[one.edge] as [number, number])[one.end] = (index - (list.length - 1) / 2) * spread));
  }
  return ports;
}

const round = (value: number) => Math.round(value * 10) / 10;

function curve(edge: Edge, chain: Slot[], placed: Map<string, Placed>, [leave, enter]: [number, number], x_of: (layer: number) => number, size: Size): Drawn | undefined {
  const [source, target] = [placed.get(edge.from), placed.get(edge.to)];
  if (!source || !target) return undefined;
  const is_back = target.layer < source.layer;
  const side = (size.width / 2) * (is_back ? -1 : 1);
  const points: Point[] = [{ x: source.x + side, y: source.y + leave }];
  for (const slot of (is_back ? [...chain].reverse() : chain).slice(1, -1)) {
    points.push({ x: x_of(slot.layer) - side, y: slot.at }, { x: x_of(slot.layer) + side, y: slot.at });
  }
  const tip = { x: target.x - side, y: target.y + enter };
  // The line ends within the arrow.
  points.push({ x: tip.x - Math.sign(side) * (ARROW - 1), y: tip.y });
  let path = `M${round((points[0] as Point).x)} ${round((points[0] as Point).y)}`;
  for (let index = 1; index < points.length; index++) {
    const [one, other] = [points[index - 1] as Point, points[index] as Point];
    const half = (one.x + other.x) / 2;
    path += one.y === other.y ? `H${round(other.x)}` : `C${round(half)} ${round(one.y)} ${round(half)} ${round(other.y)} ${round(other.x)} ${round(other.y)}`;
  }
  const [one, other] = [points.at(-2) as Point, points.at(-1) as Point];
  return { path, arrow: arrow(tip, [Math.sign(side), 0]), label: { x: (one.x + other.x) / 2, y: (one.y + other.y) / 2 } };
}

function arrow(tip: Point, [x, y]: [number, number]): string {
  const back = { x: tip.x - x * ARROW, y: tip.y - y * ARROW };
  const corners = [tip, { x: back.x + y * ARROW_HALF, y: back.y + x * ARROW_HALF }, { x: back.x - y * ARROW_HALF, y: back.y - x * ARROW_HALF }];
  return corners.map((corner) => `${round(corner.x)},${round(corner.y)}`).join(" ");
}

/** Layers as rows, folded to what fits beside each other: for phones. */
function rows(nodes: string[], edges: readonly Edge[], layers: Map<string, number>, lonely: Set<string>, options: Options): Layout {
  const connected = nodes.filter((id) => !lonely.has(id));
  const depth = connected.reduce((most, id) => Math.max(most, (layers.get(id) ?? 0) + 1), 0);
  const near = edges.filter((edge) => Math.abs((layers.get(edge.from) ?? 0) - (layers.get(edge.to) ?? 0)) === 1);
  const all = parts(connected, edges).flatMap((part) => {
    const { by_layer } = slots_of(part, near, layers, depth, NODE_PHONE_HEIGHT);
    order(by_layer);
    return by_layer.map((layer) => layer.map((slot) => slot.id)).filter((list) => list.length > 0);
  });
  const room = options.width - 2 * MARGIN;
  const capacity = Math.max(1, Math.min(3, Math.floor((room + GAP) / (NODE_PHONE_MIN + GAP))));
  const node_width = Math.min(NODE.width, (room - (capacity - 1) * GAP) / capacity);
  const lists = [...all, [...lonely]];
  const placed = new Map<string, Placed>();
  const row_of = new Map<string, number>();
  let y = NODE_PHONE_HEIGHT / 2;
  let number = 0;
  lists.forEach((list, layer) => {
    for (let from = 0; from < list.length; from += capacity) {
      const row = list.slice(from, from + capacity);
      const width = row.length * node_width + (row.length - 1) * GAP;
      row.forEach((id, index) => {
        placed.set(id, { x: (options.width - width) / 2 + node_width / 2 + index * (node_width + GAP), y, layer });
        row_of.set(id, number);
      });
      number += 1;
      y += NODE_PHONE_HEIGHT + (from + capacity < list.length ? GAP : ROW_GAP);
    }
  });
  const drawn: (Drawn | undefined)[] = edges.map(() => undefined);
  in_order(edges).forEach((index, rank) => {
    const { from, to } = edges[index] as Edge;
    const [source, target] = [placed.get(from), placed.get(to)];
    if (!source || !target || from === to) return;
    const is_near = Math.abs((row_of.get(from) ?? 0) - (row_of.get(to) ?? 0)) === 1;
    drawn[index] = is_near ? straight(source, target) : beside(source, target, rank, options.width);
  });
  return { nodes: placed, edges: drawn, width: options.width, height: Math.max(0, y - NODE_PHONE_HEIGHT / 2 - ROW_GAP), is_down: true, node_width, node_height: NODE_PHONE_HEIGHT };
}

const way = (points: (string | number)[]) => points.map((point) => (typeof point === "number" ? round(point) : point)).join(" ");

/** From one row to the next. */
function straight(source: Point, target: Point): Drawn {
  const sign = target.y < source.y ? -1 : 1;
  const [begin, tip] = [source.y + (sign * NODE_PHONE_HEIGHT) / 2, target.y - (sign * NODE_PHONE_HEIGHT) / 2];
  const end = tip - sign * (ARROW - 1);
  const bend = Math.max(8, Math.abs(end - begin) / 2) * sign;
  return { path: way(["M", source.x, begin, "C", source.x, begin + bend, target.x, end - bend, target.x, end]), arrow: arrow({ x: target.x, y: tip }, [0, sign]), label: { x: (source.x + target.x) / 2, y: (begin + end) / 2 } };
}

/** Over several rows, along the nearer margin. */
function beside(source: Point, target: Point, rank: number, width: number): Drawn {
  const sign = target.y < source.y ? -1 : 1;
  const [begin, tip] = [source.y + (sign * NODE_PHONE_HEIGHT) / 2, target.y - (sign * NODE_PHONE_HEIGHT) / 2];
  const end = tip - sign * (ARROW - 1);
  const middle_x = (source.x + target.x) / 2;
  const is_left = Math.abs(middle_x - width / 2) < 1 ? rank % 2 === 0 : middle_x < width / 2;
  const track = 2 + (rank % TRACKS) * ((MARGIN - 6) / TRACKS);
  const x = is_left ? track : width - track;
  const turn = sign * GAP;
  return {
    path: way(["M", source.x, begin, "C", source.x, begin + turn * 0.8, x, begin, x, begin + turn, "V", end - turn, "C", x, end, target.x, end - turn * 0.8, target.x, end]),
    arrow: arrow({ x: target.x, y: tip }, [0, sign]), label: { x: Math.min(width - 40, Math.max(40, x)), y: (begin + end) / 2 },
  };
}
