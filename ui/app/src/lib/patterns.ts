import { text } from "./format";
import type { LogRecord } from "./types";

/** Records that say the same but for numbers and IDs. */
export interface Pattern { shape: string; count: number; service: string; severity: number; sample: LogRecord; times: number[] }

const SHAPE_CHARS = 300;
const BUCKETS = 30;

export function patterns(logs: LogRecord[], from: number, to: number): Pattern[] {
  const found = new Map<string, Pattern>();
  for (const log of logs) {
    const shape = text(log.body).slice(0, SHAPE_CHARS).replace(/[\w-]*\d[\w.-]*/g, "…");
    const key = `${log.service}\n${shape}`;
    let one = found.get(key);
    if (!one) found.set(key, (one = { shape, count: 0, service: log.service, severity: log.severity_number, sample: log, times: Array<number>(BUCKETS).fill(0) }));
    one.count += 1;
    one.severity = Math.max(one.severity, log.severity_number);
    const bucket = Math.floor(((Number(BigInt(log.time) / 1_000_000n) - from) / Math.max(1, to - from)) * BUCKETS);
    if (bucket >= 0 && bucket < BUCKETS) one.times[bucket] = (one.times[bucket] ?? 0) + 1;
  }
  return [...found.values()].sort((one, other) => other.count - one.count);
}

/** A pattern of the server as ours are shown. */
export const shown_shape = (pattern: string) => pattern.replaceAll("<*>", "…");

/** The longest piece of a shape that every record of it has: to be searched as a phrase. */
export function phrase(shape: string): string {
  const pieces = shape.split("…").map((piece) => piece.trim().replace(/^[^\p{L}]+|[^\p{L}]+$/gu, ""));
  return `"${(pieces.sort((one, other) => other.length - one.length)[0] ?? "").replace(/[\\"]/g, "\\$&")}"`;
}
