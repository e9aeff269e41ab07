import { ask } from "./api";
import { step } from "./red";

export interface Graph { times: number[]; lines: { label: string; labels: Record<string, string>; values: (number | null)[] }[]; dropped: number; histograms: Histogram[]; warnings: string[] }
/** A native histogram at one of the times. */
export interface Histogram { column: number; buckets: { low: number; high: number; count: number }[] }

export const series_name = (labels: Record<string, string>): string => {
  const { __name__: name = "", ...others } = labels;
  const inner = Object.entries(others).map(([key, value]) => `${key}="${value}"`).join(", ");
  return inner ? `${name}{${inner}}` : name || "value";
};

/** How a metric is best seen: by its kind, and by its name where the server knows no kind. A gauge may be called a count. */
export function suggestion(name: string, kind: string | undefined): string {
  if (kind === "gauge") return name;
  if (name.endsWith("_bucket")) return `histogram_quantile(0.95, sum by (le, job) (rate(${name}[5m])))`;
  return kind === "counter" || /_(total|count|sum)$/.test(name) ? `sum by (job) (rate(${name}[5m]))` : name;
}

const LINES_MAX = 60;

const number = (text: string) => (text === "+Inf" ? Infinity : text === "-Inf" ? -Infinity : Number(text));

/** A range query on one common axis of time (milliseconds). */
export async function range_query(query: string, from: number, to: number, signal?: AbortSignal, points = 180): Promise<Graph> {
  const width = Math.max(5, step(from, to, points));
  const [start, end] = [Math.floor(from / 1e3 / width) * width, Math.ceil(to / 1e3 / width) * width];
  const { data, warnings = [] } = await ask("/prometheus/api/v1/query_range", { query, start, end, step: width }, signal);
  const times = Array.from({ length: Math.floor((end - start) / width) + 1 }, (_, index) => (start + index * width) * 1e3);
  const histograms = data.result.slice(0, LINES_MAX).flatMap((series) => (series.histograms ?? []).map(([time, { buckets }]): Histogram => ({
    column: Math.round((time - start) / width), buckets: (buckets ?? []).map(([, low, high, count]) => ({ low: number(low), high: number(high), count: number(count) })),
  }))).filter((each) => each.column >= 0 && each.column < times.length);
  // A series of histograms has no line.
  const numbers = data.result.filter((series) => !series.histograms || series.values);
  const lines = numbers.slice(0, LINES_MAX).map((series) => {
    const values: (number | null)[] = Array(times.length).fill(null);
    for (const [time, value] of series.values ?? []) {
      const index = Math.round((time - start) / width);
      const number = Number(value);
      if (index >= 0 && index < values.length) values[index] = Number.isFinite(number) ? number : null;
    }
    return { label: series_name(series.metric), labels: series.metric, values };
  });
  return { times, lines, dropped: Math.max(0, data.result.length - LINES_MAX), histograms, warnings };
}
