import { rows } from "./api";
import { duration, share } from "./format";
import { failed_share } from "./versions";

/** Requests over a part of the range; nanoseconds. */
export interface Part { requests: number; errors: number; p95: number }

/** Rate, errors and duration of one service (or operation) over the range, in buckets. */
export interface Red {
  name: string;
  requests: number[];
  errors: number[];
  p95: (number | null)[];
  total: number;
  /** The last third of the range, which all numbers are of, and the first. */
  now: Part;
  before: Part;
  /** Whether so many fail that it is worth a colour. */
  fails: boolean;
  /** How bad it is; 0 is well. */
  badness: number;
  words: string;
}

interface Row { name: string; bucket: string | null; part: "now" | "before" | "" | null; n: string; e: string; p95: number | null }

/** A share that failed is chance while fewer did: one failed request is no outage, also where it was the only one. */
const FAILED_MIN = 3;
/** The 95th percentile of fewer requests is the slowest of them. */
const TIMED_MIN = 20;

export const BUCKETS = 40;
const NICE = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400];

/** Seconds of a bucket. */
export function step(from: number, to: number, buckets = BUCKETS): number {
  const wanted = (to - from) / 1e3 / buckets;
  return NICE.find((size) => size >= wanted) ?? Math.ceil(wanted / 86_400) * 86_400;
}

/** Where the first third of a range ends and the last begins. */
export const thirds = (from: number, to: number) => ({ early: from + (to - from) / 3, late: to - (to - from) / 3 });

/** Requests are spans of servers and consumers: what a service was asked, not what it asked itself. */
export async function red(column: string, condition: string, from: number, to: number, signal?: AbortSignal): Promise<Red[]> {
  const width = step(from, to);
  const { early, late } = thirds(from, to);
  const bucket = `date_bin(INTERVAL '${width} seconds', time)`;
  const part = `CASE WHEN time >= '${new Date(late).toISOString()}' THEN 'now' WHEN time < '${new Date(early).toISOString()}' THEN 'before' ELSE '' END`;
  // Percentiles of buckets make no percentile of several: the parts are measured by themselves, in the same scan.
  const answer = await rows<Row>(
    `SELECT ${column} AS name, ${bucket} AS bucket, ${part} AS part, count(*) AS n,
     count(*) FILTER (WHERE status_code = 2) AS e, approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY duration) AS p95
     FROM spans WHERE kind IN (2, 5) AND ${condition} GROUP BY GROUPING SETS ((${column}, ${bucket}), (${column}, ${part})) ORDER BY part NULLS LAST`,
    signal,
  );
  const first = Math.floor(from / 1e3 / width);
  const length = Math.max(1, Math.ceil(to / 1e3 / width) - first);
  const found = new Map<string, Red>();
  for (const row of answer) {
    let one = found.get(row.name);
    if (!one) {
      const nothing = { requests: 0, errors: 0, p95: Number.NaN };
      one = { name: row.name, requests: Array(length).fill(0), errors: Array(length).fill(0), p95: Array(length).fill(null), total: 0, now: nothing, before: nothing, fails: false, badness: 0, words: "" };
      found.set(row.name, one);
    }
    if (row.bucket === null) {
      if (row.part) one[row.part] = { requests: Number(row.n), errors: Number(row.e), p95: row.p95 ?? Number.NaN };
      continue;
    }
    const index = Math.floor(Number(BigInt(row.bucket) / 1_000_000_000n) / width) - first;
    if (index < 0 || index >= length) continue;
    one.requests[index] = Number(row.n);
    one.errors[index] = Number(row.e);
    one.p95[index] = row.p95;
    one.total += Number(row.n);
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

/** Compares the last third of the range with the first. */
export function judge(one: Red) {
  const { now, before } = one;
  const words: string[] = [];
  one.fails = now.errors >= FAILED_MIN && failed_share(now) > 0.01;
  if (one.fails) {
    // A high share of much is worse than either alone: the origin stands above those that hand on some of its failures.
    one.badness += failed_share(now) * now.errors;
    words.push(`${share(failed_share(now))} of requests fail${failed_share(before) > 0.001 ? `, ${share(failed_share(before))} before` : ""}`);
  }
  const slower = now.p95 / before.p95;
  if (Math.min(now.requests, before.requests) >= TIMED_MIN && slower > 1.8 && now.p95 - before.p95 > 20e6) {
    one.badness += Math.min(8, slower);
    words.push(`p95 went from ${duration(before.p95)} to ${duration(now.p95)}`);
  }
  one.words = words.join("; ");
}
