import type { Line } from "../../components/Chart.svelte";
import { millis, text } from "../../lib/format";
import type { SqlAnswer } from "../../lib/types";

/** Spreadsheets take what begins with these for a formula. */
const FORMULA = /^[=+\-@\t\r]/;

export function csv(answer: SqlAnswer): string {
  const cell = (value: string, is_text: boolean) => {
    const safe = is_text && FORMULA.test(value) ? `'${value}` : value;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const types = answer.columns.map((column) => column.type);
  const shown = (value: unknown, type: string) => (type === "timestamp" && typeof value === "string" ? iso_nanos(value) : text(value as string));
  const lines = [answer.columns.map((column) => cell(column.name, true)), ...answer.rows.map((row) => row.map((value, index) => cell(shown(value, types[index] ?? ""), types[index] === "text")))];
  return `${lines.map((line) => line.join(",")).join("\r\n")}\r\n`;
}

/** Nanoseconds as RFC 3339 without losing a digit. */
export function iso_nanos(nanos: string): string {
  const value = BigInt(nanos);
  const seconds = value >= 0n ? value / 1_000_000_000n : (value - 999_999_999n) / 1_000_000_000n;
  const rest = (value - seconds * 1_000_000_000n).toString().padStart(9, "0");
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}.${rest}Z`;
}

const NUMBERS = /^(u?int|float|decimal)/;

/** The first column of times against every column of numbers, a line for each text. */
export function charted(answer: SqlAnswer): { times: number[]; lines: Line[] } | undefined {
  const time = answer.columns.findIndex((column) => column.type === "timestamp");
  const numbers = answer.columns.flatMap((column, index) => (NUMBERS.test(column.type) ? [index] : []));
  const names = answer.columns.flatMap((column, index) => (column.type === "text" ? [index] : []));
  if (time < 0 || numbers.length === 0 || answer.rows.length < 2) return undefined;
  const times = [...new Set(answer.rows.map((row) => millis(row[time] as string)))].sort((one, other) => one - other);
  const place = new Map(times.map((each, index) => [each, index]));
  const lines = new Map<string, Line>();
  for (const row of answer.rows) {
    const name = names.map((index) => text(row[index])).join(" ");
    for (const index of numbers) {
      const label = [name, numbers.length > 1 || !name ? answer.columns[index]?.name : ""].filter(Boolean).join(" ");
      let line = lines.get(label);
      if (!line) {
        if (lines.size >= 40) continue;
        lines.set(label, (line = { label, values: Array(times.length).fill(null) }));
      }
      line.values[place.get(millis(row[time] as string)) ?? 0] = row[index] === null ? null : Number(row[index]);
    }
  }
  return { times, lines: [...lines.values()] };
}
