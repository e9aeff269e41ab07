import { describe, expect, it } from "vitest";

import { type Edge, crossings, forward, layers_of, layout, parts } from "./layout";

const edges = (...pairs: string[]): Edge[] => pairs.map((pair) => ({ from: pair[0] ?? "", to: pair[1] ?? "" }));
const shop = edges("wc", "wk", "cp", "co", "ks", "op", "cs");
const ids = (list: Edge[]) => [...new Set(list.flatMap((edge) => [edge.from, edge.to]))];

/** A number of services that call others, always the same. */
function many(count: number): { nodes: string[]; list: Edge[] } {
  const nodes = Array.from({ length: count }, (_, index) => `service-${index}`);
  let seed = 7;
  const random = (below: number) => ((seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0) >>> 8) % below;
  const list = Array.from({ length: count * 3 }, () => ({ from: nodes[random(count)] as string, to: nodes[random(count)] as string }));
  return { nodes, list };
}

describe("layers", () => {
  it("puts a callee after the last of its callers", () => {
    const layers = layers_of(ids(shop), forward(ids(shop), shop));
    expect(Object.fromEntries(layers)).toEqual({ w: 0, c: 1, k: 1, p: 3, o: 2, s: 2 });
  });
  it("puts what nobody calls right before what it calls", () => {
    const list = edges("ab", "bc", "cd", "xd");
    expect(layers_of(ids(list), list).get("x")).toBe(2);
  });
  it("turns round what closes a cycle, and loses no edge to it", () => {
    const list = edges("ab", "bc", "ca", "cd");
    expect(forward(["a", "b", "c", "d"], list)).toEqual(expect.arrayContaining([{ from: "a", to: "c" }]));
    expect([...layers_of(["a", "b", "c", "d"], forward(["a", "b", "c", "d"], list)).values()].sort()).toEqual([0, 1, 2, 3]);
    expect(layout(["a", "b", "c", "d"], list).edges.filter(Boolean)).toHaveLength(4);
  });
});

describe("crossings", () => {
  it("counts pairs of edges that cross", () => {
    const [x, y] = [{ at: 0, after: [] }, { at: 1, after: [] }];
    expect(crossings([[{ at: 0, after: [y] }, { at: 1, after: [x] }]])).toBe(1);
    expect(crossings([[{ at: 0, after: [x, y] }, { at: 1, after: [x, y] }]])).toBe(1);
    expect(crossings([[{ at: 0, after: [x] }, { at: 1, after: [y] }]])).toBe(0);
  });
  it("are taken away where they can be", () => {
    // a calls z, b calls y: in the order of names they cross.
    const { nodes } = layout(["a", "b", "y", "z"], edges("az", "by"));
    const at = (id: string) => nodes.get(id)?.y ?? Number.NaN;
    expect(at("a") < at("b")).toBe(at("z") < at("y"));
  });
});

describe("layout", () => {
  it("is the same whatever the order of nodes and edges", () => {
    const { nodes, list } = many(50);
    const one = layout(nodes, list, { width: 1200 });
    const other = layout([...nodes].reverse(), [...list].reverse(), { width: 1200 });
    expect([...one.nodes].sort()).toEqual([...other.nodes].sort());
  });
  it.each([1240, 375, 320])("of 50 services at %i px hides no node behind another", (width) => {
    const { nodes, list } = many(50);
    const found = layout(nodes, list, { width });
    const places = [...found.nodes.values()];
    expect(places).toHaveLength(50);
    for (const [index, one] of places.entries()) {
      for (const other of places.slice(index + 1)) expect(Math.abs(one.x - other.x) >= found.node_width - 0.01 || Math.abs(one.y - other.y) >= found.node_height - 0.01).toBe(true);
      expect(one.x - found.node_width / 2).toBeGreaterThanOrEqual(-0.01);
      expect(one.x + found.node_width / 2).toBeLessThanOrEqual(found.width + 0.01);
      expect(one.y - found.node_height / 2).toBeGreaterThanOrEqual(-0.01);
      expect(one.y + found.node_height / 2).toBeLessThanOrEqual(found.height + 0.01);
    }
    if (width < 640) {
      expect(found.width).toBe(width);
      expect(found.node_width).toBeGreaterThan(88);
    }
  });
  it("draws callers left of callees, on a phone above", () => {
    for (const width of [1000, 375]) {
      const { nodes, edges: drawn, is_down } = layout(ids(shop), shop, { width });
      for (const { from, to } of shop) {
        const [one, other] = [nodes.get(from), nodes.get(to)];
        expect(is_down ? (one?.y ?? 0) < (other?.y ?? 0) : (one?.x ?? 0) < (other?.x ?? 0)).toBe(true);
      }
      expect(drawn.every((line) => line && !/NaN|Infinity/.test(line.path + line.arrow))).toBe(true);
    }
  });
  it("draws what does not hang together one below the other, without a hole between", () => {
    const list = edges("ab", "ac", "ad", "xy");
    expect(parts(ids(list).sort(), list)).toEqual([["a", "b", "c", "d"], ["x", "y"]]);
    const { nodes, node_height, height } = layout(ids(list), list, { width: 1000 });
    const at = (id: string) => nodes.get(id)?.y ?? Number.NaN;
    expect(at("x") - Math.max(at("b"), at("c"), at("d"))).toBe(node_height + 34);
    expect(height).toBe(at("x") + node_height / 2);
  });
  it("takes a service that calls itself, one without calls, an edge to nowhere, and nothing at all", () => {
    const { nodes, edges: drawn } = layout(["a", "b", "lonely"], [...edges("aa", "ab"), { from: "a", to: "gone" }]);
    expect([nodes.size, drawn.map(Boolean)]).toEqual([3, [false, true, false]]);
    expect((nodes.get("lonely")?.y ?? 0) > (nodes.get("a")?.y ?? 0)).toBe(true);
    expect(layout([], []).height).toBe(0);
  });
  it("of a thousand services and three thousand calls is no wait", () => {
    const { nodes, list } = many(1_000);
    const begun = performance.now();
    layout(nodes, list, { width: 1200 });
    expect(performance.now() - begun).toBeLessThan(3_000);
  });
});
