import type { SloView } from "../../lib/types";

type Point = SloView["burn_down"][number];

/** The points to draw: from the first that is known on. A gap in between stays one. */
export function drawn(points: Point[]): Point[] {
  const first = points.findIndex((point) => point.left_share !== null);
  const last = points.findLastIndex((point) => point.left_share !== null);
  return first < 0 ? [] : points.slice(first, last + 1);
}
