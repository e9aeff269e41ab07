import type { Histogram } from "./promql";

/** How many, by time and by size: what a heat map draws. */
export interface Heat {
  /** Milliseconds at which a column begins, and its width. */
  times: number[];
  step: number;
  /** The edges of the rows, ascending: one more than there are rows. */
  bounds: number[];
  cells: Cell[];
}
export interface Cell { column: number; row: number; value: number; bad: number }

/** Rows of a power of ten: neighbours differ by half. */
export const ROWS_OF_DECADE = 6;
const ROWS_MAX = 60;
const COLUMNS_MAX = 90;

/** One row of the answer to [`latency_sql`]: a time, a logarithm of durations, how many, and how many failed. */
export interface LatencyRow { t: string; d: string; n: string; e: string }

export function latency_sql(condition: string, step_seconds: number): string {
  return `SELECT date_bin(INTERVAL '${step_seconds} seconds', time) AS t, CAST(floor(log10(greatest(duration, 1000)) * ${ROWS_OF_DECADE}) AS BIGINT) AS d,
    count(*) AS n, count(*) FILTER (WHERE status_code = 2) AS e FROM spans WHERE duration IS NOT NULL AND ${condition} GROUP BY 1, 2`;
}

export function latency_heat(answer: LatencyRow[], from: number, to: number, step_seconds: number): Heat {
  const step = step_seconds * 1e3;
  const first = Math.floor(from / step);
  const columns = Math.max(1, Math.ceil(to / step) - first);
  const logs = answer.map((row) => Number(row.d));
  const low = logs.reduce((least, log) => Math.min(least, log), Infinity);
  const high = logs.reduce((most, log) => Math.max(most, log), -Infinity);
  const rows = logs.length > 0 ? high - low + 1 : 0;
  const cells = answer.map((row) => ({ column: Math.floor(Number(BigInt(row.t) / 1_000_000n) / step) - first, row: Number(row.d) - low, value: Number(row.n), bad: Number(row.e) }))
    .filter((cell) => cell.column >= 0 && cell.column < columns);
  return {
    times: Array.from({ length: columns }, (_, index) => (first + index) * step), step,
    bounds: rows > 0 ? Array.from({ length: rows + 1 }, (_, index) => 10 ** ((low + index) / ROWS_OF_DECADE)) : [], cells,
  };
}

/** The series of a classic histogram, one for each upper bound; others than `le` are added up. Nothing when they are none. */
export function classic_heat(times: number[], lines: { labels: Record<string, string>; values: (number | null)[] }[]): Heat | undefined {
  const by_bound = new Map<number, number[]>();
  for (const { labels, values } of lines) {
    const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
    if (labels.le === undefined || Number.isNaN(bound)) return undefined;
    const sums = by_bound.get(bound) ?? times.map(() => 0);
    values.forEach((value, index) => (sums[index] = (sums[index] ?? 0) + (value ?? 0)));
    by_bound.set(bound, sums);
  }
  const bounds = [...by_bound.keys()].sort((one, other) => one - other);
  const least = bounds[0];
  if (least === undefined || bounds.length < 2) return undefined;
  const cells: Cell[] = [];
  bounds.forEach((bound, row) => times.forEach((_, column) => {
    const below = row > 0 ? (by_bound.get(bounds[row - 1] as number)?.[column] ?? 0) : 0;
    // Buckets are scraped one after the other: a lower one may be ahead.
    const value = Math.max(0, (by_bound.get(bound)?.[column] ?? 0) - below);
    if (value > 0) cells.push({ column, row, value, bad: 0 });
  }));
  return folded({ times, step: step_of(times), bounds: [least > 0 ? 0 : -Infinity, ...bounds], cells });
}

/** Native histograms: their buckets side by side, narrow ones together when there are too many. */
export function native_heat(times: number[], histograms: Histogram[]): Heat | undefined {
  const edges = new Set<number>();
  for (const { buckets } of histograms) for (const { low, high } of buckets) { edges.add(low); edges.add(high); }
  let bounds = [...edges].sort((one, other) => one - other);
  if (bounds.length < 2) return undefined;
  const every = Math.ceil((bounds.length - 1) / ROWS_MAX);
  bounds = bounds.filter((_, index) => index % every === 0 || index === bounds.length - 1);
  const sums = new Map<number, number>();
  const rows = bounds.length - 1;
  for (const { column, buckets } of histograms) {
    for (const { low, high, count } of buckets) {
      if (!(count > 0)) continue;
      for (const [row, part] of spread(bounds, low, high)) sums.set(column * rows + row, (sums.get(column * rows + row) ?? 0) + count * part);
    }
  }
  const cells = [...sums].map(([place, value]) => ({ column: Math.floor(place / rows), row: place % rows, value, bad: 0 }));
  return folded({ times, step: step_of(times), bounds, cells });
}

/** Which part of a bucket lies in which rows; within a bucket values are taken to lie evenly, by their logarithm where it has one. */
export function spread(bounds: number[], low: number, high: number): [number, number][] {
  const scale = low > 0 ? Math.log : (value: number) => value;
  const width = scale(high) - scale(low);
  const found: [number, number][] = [];
  for (let row = 0; row + 1 < bounds.length; row++) {
    const [from, to] = [Math.max(low, bounds[row] as number), Math.min(high, bounds[row + 1] as number)];
    if (!(to > from)) continue;
    // Within a bucket without an end nothing is known of where.
    if (!Number.isFinite(width)) return [[row, 1]];
    found.push([row, (scale(to) - scale(from)) / width]);
  }
  return found;
}

const step_of = (times: number[]) => (times.length > 1 ? (times[1] as number) - (times[0] as number) : 6e4);

/** Columns put together until they are few enough to be seen: the mean of each. */
export function folded(heat: Heat, columns_max = COLUMNS_MAX): Heat {
  const every = Math.ceil(heat.times.length / columns_max);
  if (every <= 1) return heat;
  const sums = new Map<string, Cell>();
  for (const cell of heat.cells) {
    const column = Math.floor(cell.column / every);
    const key = `${column}/${cell.row}`;
    const sum = sums.get(key);
    if (sum) { sum.value += cell.value / every; sum.bad += cell.bad / every; }
    else sums.set(key, { column, row: cell.row, value: cell.value / every, bad: cell.bad / every });
  }
  return { ...heat, times: heat.times.filter((_, index) => index % every === 0), step: heat.step * every, cells: [...sums.values()] };
}

/** How strong a cell is drawn: by the logarithm, so that one request in a column of thousands is still seen. */
export function strength(value: number, most: number): number {
  return most > 0 && value > 0 ? 0.14 + 0.86 * (Math.log1p((value / most) * 100) / Math.log1p(100)) : 0;
}

const UNITS: Record<string, number> = { ns: 1, us: 1e3, µs: 1e3, ms: 1e6, s: 1e9, m: 6e10, h: 36e11 };

/** Nanoseconds of a duration such as `1m30s` or `250ms`, as the API reads it; `null` when it is none. */
export function duration_nanos(text: string): number | null {
  const parts = [...text.trim().matchAll(/(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s|m|h)\s*/g)];
  if (parts.length === 0 || parts.map((part) => part[0]).join("") !== text.trim()) return null;
  return parts.reduce((sum, part) => sum + Number(part[1]) * (UNITS[part[2] ?? ""] ?? 0), 0);
}
