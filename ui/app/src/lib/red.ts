import { rows } from "./api";
import { duration, share } from "./format";

/** Rate, errors and duration of one service (or operation) over the range, in buckets. */
export interface Red {
  name: string;
  requests: number[];
  errors: number[];
  p95: (number | null)[];
  total: number;
  failed: number;
  /** Nanoseconds, of the last third of the range. */
  p95_now: number;
  error_share: number;
  /** How bad it is; 0 is well. */
  badness: number;
  words: string;
}

interface Row { name: string; bucket: string; n: string; e: string; p95: number }

export const BUCKETS = 40;
const NICE = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400];

/** Seconds of a bucket. */
export function step(from: number, to: number, buckets = BUCKETS): number {
  const wanted = (to - from) / 1e3 / buckets;
  return NICE.find((size) => size >= wanted) ?? Math.ceil(wanted / 86_400) * 86_400;
}

/** Requests are spans of servers and consumers: what a service was asked, not what it asked itself. */
export async function red(column: string, condition: string, from: number, to: number, signal?: AbortSignal): Promise<Red[]> {
  const width = step(from, to);
  const answer = await rows<Row>(
    `SELECT ${column} AS name, date_bin(INTERVAL '${width} seconds', time) AS bucket, count(*) AS n,
     count(*) FILTER (WHERE status_code = 2) AS e, approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY duration) AS p95
     FROM spans WHERE kind IN (2, 5) AND ${condition} GROUP BY 1, 2`,
    signal,
  );
  const first = Math.floor(from / 1e3 / width);
  const length = Math.max(1, Math.ceil(to / 1e3 / width) - first);
  const found = new Map<string, Red>();
  for (const row of answer) {
    let one = found.get(row.name);
    if (!one) {
      one = { name: row.name, requests: Array(length).fill(0), errors: Array(length).fill(0), p95: Array(length).fill(null), total: 0, failed: 0, p95_now: Number.NaN, error_share: 0, badness: 0, words: "" };
      found.set(row.name, one);
    }
    const index = Math.floor(Number(BigInt(row.bucket) / 1_000_000_000n) / width) - first;
    if (index < 0 || index >= length) continue;
    one.requests[index] = Number(row.n);
    one.errors[index] = Number(row.e);
    one.p95[index] = row.p95;
    one.total += Number(row.n);
    one.failed += Number(row.e);
  }
  for (const one of found.values()) judge(one);
  return [...found.values()].sort((one, other) => other.badness - one.badness || other.total - one.total);
}

/** How many a second: the first and the last bucket of a range are often covered in part only, and then told by no value or by that part. */
export function rates(counts: number[], from: number, to: number, width: number): (number | null)[] {
  const first = Math.floor(from / 1e3 / width) * width;
  return counts.map((value, index) => {
    const begin = first + index * width;
    const covered = Math.min(to / 1e3, begin + width) - Math.max(from / 1e3, begin);
    return covered < width / 3 ? null : value / covered;
  });
}

const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);

function mean(values: (number | null)[]): number {
  const known = values.filter((value): value is number => value !== null);
  return known.length ? sum(known) / known.length : Number.NaN;
}

/** Compares the last third of the range with the first half. */
export function judge(one: Red) {
  const { length } = one.requests;
  const late = Math.floor((length * 2) / 3);
  const early = Math.max(1, Math.floor(length / 2));
  const ratio = (from: number, to: number) => sum(one.errors.slice(from, to)) / Math.max(1, sum(one.requests.slice(from, to)));
  const [before, now] = [ratio(0, early), ratio(late, length)];
  const [slow_before, slow_now] = [mean(one.p95.slice(0, early)), mean(one.p95.slice(late))];
  one.p95_now = Number.isNaN(slow_now) ? mean(one.p95) : slow_now;
  one.error_share = now;
  const slower = slow_now / slow_before;
  const words: string[] = [];
  if (now > 0.01) {
    one.badness += now * 100;
    words.push(`${share(now)} of requests fail${before > 0.001 ? `, ${share(before)} before` : ""}`);
  }
  if (slower > 1.8 && slow_now - slow_before > 20e6) {
    one.badness += Math.min(8, slower);
    words.push(`p95 went from ${duration(slow_before)} to ${duration(slow_now)}`);
  }
  one.words = words.join("; ");
}
