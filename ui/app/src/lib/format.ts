import type { Value } from "./types";

/** Nanoseconds, as the API writes them, in milliseconds with fractions. */
export function millis(nanos: string | null | undefined): number {
  if (!nanos) return Number.NaN;
  const whole = BigInt(nanos);
  return Number(whole / 1_000_000n) + Number(whole % 1_000_000n) / 1e6;
}

const STEPS: [number, string][] = [[864e11, "d"], [36e11, "h"], [6e10, "min"], [1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]];

/** Three digits that count. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 100 || size === 0) return Math.round(value).toString();
  return String(Number(value.toFixed(size >= 10 ? 1 : size >= 1 ? 2 : Math.min(8, 2 - Math.floor(Math.log10(size))))));
}

export function duration(nanos: number | string | null | undefined): string {
  const value = Number(nanos ?? Number.NaN);
  if (!Number.isFinite(value)) return "–";
  for (const [size, unit] of STEPS) if (Math.abs(value) >= size) return `${digits(value / size)} ${unit}`;
  return "0";
}
export const seconds = (value: number | null | undefined) => duration((value ?? Number.NaN) * 1e9);

export function count(value: number | string): string {
  const number = Number(value);
  if (!Number.isFinite(number)) return "–";
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]] as const) {
    if (Math.abs(number) >= size) return `${digits(number / (unit === "k" ? 1e3 : size))} ${unit}`;
  }
  return Math.abs(number) >= 1000 ? number.toLocaleString("en-US", { maximumFractionDigits: 0 }) : digits(number);
}
/** So many of something, with its plural. */
export const some = (number: number | string, what: string) => `${count(number)} ${what}${Number(number) === 1 ? "" : "s"}`;

/** How often something is asked. What is rare is counted, or told by the hour: nobody can read 0.000278/s. */
export function rate(number: number, seconds: number, places = 3): string {
  const every = (size: number) => digits(Number(((number / seconds) * size).toPrecision(places)));
  if (number === 0 || number / seconds >= 0.1) return `${every(1)}/s`;
  if (number < 10) return some(number, "request");
  const [size, unit] = ([[60, "min"], [3600, "h"]] as const).find(([each]) => (number / seconds) * each >= 1) ?? [86_400, "day"];
  return `${every(size)}/${unit}`;
}

export function bytes(value: number): string {
  for (const [size, unit] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]] as const) if (value >= size) return `${digits(value / size)} ${unit}`;
  return `${digits(value)} B`;
}
export function share(value: number | null | undefined, places = 1): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const percent = value * 100;
  const least = places === 0 ? 1 : 0.1;
  if (percent !== 0 && Math.abs(percent) < least) return `${percent > 0 ? "<" : ">-"}${least} %`;
  return `${Number(percent.toFixed(Math.abs(percent) >= 10 ? Math.min(places, 1) : places))} %`;
}
/** Of an error budget what is left, once anything was measured. */
export const left_of = (budget: { left_share: number; total: number } | null | undefined) => (budget && budget.total > 0 ? budget.left_share : undefined);
/** What is left of an error budget; what is overdrawn is told as how many times it was spent. */
export function budget_left(left: number | null | undefined): string {
  return left !== null && left !== undefined && left < 0 ? `${digits(1 - left)} × spent` : share(left);
}
export function ago(from: number, now: number): string {
  const seconds = Math.max(0, Math.round((now - from) / 1e3));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 360) / 10} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

export const text = (value: Value | undefined): string =>
  value === undefined || value === null ? "" : typeof value === "string" ? value : JSON.stringify(value);

export const LEVELS = ["fatal", "error", "warn", "info", "debug", "trace", "unspecified"] as const;
export type Level = (typeof LEVELS)[number];
export function level(number: number): Level {
  if (number >= 21) return "fatal";
  if (number >= 17) return "error";
  if (number >= 13) return "warn";
  if (number >= 9) return "info";
  if (number >= 5) return "debug";
  return number >= 1 ? "trace" : "unspecified";
}

/** The hue of a name: the same on every page and machine. */
export function hue(name: string): number {
  let hash = 2166136261;
  for (let index = 0; index < name.length; index++) hash = Math.imul(hash ^ name.charCodeAt(index), 16777619);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  // Away from the red of errors.
  return 50 + (((hash ^ (hash >>> 16)) >>> 0) % 25) * 12;
}

/** A value within a log search, quoted where it must be. */
export function term(field: string, value: string, negated = false): string {
  const plain = /^[\w.-]+$/.test(value) && !/^(AND|OR|NOT|TO)$/i.test(value);
  return `${negated ? "-" : ""}${field}:${plain ? value : `"${value.replace(/[\\"]/g, "\\$&")}"`}`;
}
