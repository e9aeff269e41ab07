import { prometheus } from "./api";
import { step } from "./red";

export interface Graph { times: number[]; lines: { label: string; labels: Record<string, string>; values: (number | null)[] }[]; dropped: number }

export const series_name = (labels: Record<string, string>): string => {
  const { __name__: name = "", ...others } = labels;
  const inner = Object.entries(others).map(([key, value]) => `${key}="${value}"`).join(", ");
  return inner ? `${name}{${inner}}` : name || "value";
};

const LINES_MAX = 60;

/** A range query on one common axis of time (milliseconds). */
export async function range_query(query: string, from: number, to: number, signal?: AbortSignal, points = 180): Promise<Graph> {
  const width = Math.max(5, step(from, to, points));
  const [start, end] = [Math.floor(from / 1e3 / width) * width, Math.ceil(to / 1e3 / width) * width];
  const data = await prometheus("query_range", { query, start, end, step: width }, signal);
  const times = Array.from({ length: Math.floor((end - start) / width) + 1 }, (_, index) => (start + index * width) * 1e3);
  const lines = data.result.slice(0, LINES_MAX).map((series) => {
    const values: (number | null)[] = Array(times.length).fill(null);
    for (const [time, value] of series.values ?? []) {
      const index = Math.round((time - start) / width);
      const number = Number(value);
      if (index >= 0 && index < values.length) values[index] = Number.isFinite(number) ? number : null;
    }
    return { label: series_name(series.metric), labels: series.metric, values };
  });
  return { times, lines, dropped: Math.max(0, data.result.length - LINES_MAX) };
}
