import type { Placed, Point } from "../../lib/layout";

export interface Box extends Point { width: number; height: number }

const CHAR = 5.9;
const PADDING = 8;
export const LINE = 14;

const overlap = (one: Box, other: Box) => Math.abs(one.x - other.x) * 2 < one.width + other.width && Math.abs(one.y - other.y) * 2 < one.height + other.height;

/** Of the labels those that hide neither each other nor a node, within the picture; what comes first is kept. */
export function labels_that_fit<T extends { lines: string[]; at: Point }>(labels: T[], boxes: Box[], { width, height }: { width: number; height: number }): (T & { box: Box })[] {
  const taken = [...boxes];
  const kept: (T & { box: Box })[] = [];
  for (const label of labels) {
    const wide = Math.max(0, ...label.lines.map((line) => line.length)) * CHAR + PADDING;
    const high = label.lines.length * LINE;
    const within = (at: number, size: number, most: number) => Math.min(most - size / 2, Math.max(size / 2, at));
    // Rather above, below or along its line than nowhere; farther off it would be taken for another line's.
    const beside = [-wide / 2, wide / 2].flatMap((aside) => [0, -LINE, LINE].map((shift) => [aside, shift] as const));
    const places = [...[0, -LINE, LINE, -2 * LINE, 2 * LINE].map((shift) => [0, shift] as const), ...beside];
    const found = places.map(([aside, shift]): Box => ({ x: within(label.at.x + aside, wide, width), y: within(label.at.y + shift, high, height), width: wide, height: high })).find((box) => !taken.some((each) => overlap(each, box)));
    if (!found || label.lines.length === 0) continue;
    taken.push(found);
    kept.push({ ...label, box: found });
  }
  return kept;
}

/** The node that a step in a direction leads to: the one ahead that is nearest, where aside counts double. */
export function nearest(nodes: ReadonlyMap<string, Placed>, from: string, [x, y]: [number, number]): string | undefined {
  const start = nodes.get(from);
  if (!start) return undefined;
  let [best, least] = [undefined as string | undefined, Infinity];
  for (const [id, node] of nodes) {
    const ahead = (node.x - start.x) * x + (node.y - start.y) * y;
    const aside = Math.abs((node.x - start.x) * y) + Math.abs((node.y - start.y) * x);
    if (id === from || ahead <= 1) continue;
    const cost = ahead + 2 * aside;
    if (cost < least) [best, least] = [id, cost];
  }
  return best;
}
