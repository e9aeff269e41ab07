import { ask } from "./api";
import type { Trace, TraceHit } from "./types";

const SPANS_MAX = 50_000;

/** A trace with all of its spans, page by page. */
export async function fetch_trace(id: string, signal?: AbortSignal): Promise<Trace> {
  const trace = await ask("/api/v1/traces/{trace_id}", { trace_id: id }, signal);
  while (trace.next && trace.spans.length < SPANS_MAX) {
    const more = await ask("/api/v1/traces/{trace_id}", { trace_id: id, offset: trace.next }, signal);
    trace.spans.push(...more.spans);
    trace.next = more.next ?? null;
  }
  return trace;
}

/** What a trace may be compared with: others of the same operation around its time. */
export async function others_like(trace: Trace, signal?: AbortSignal): Promise<TraceHit[]> {
  if (!trace.summary) return [];
  const at = Number(BigInt(trace.summary.start_time) / 1_000_000_000n);
  const answer = await ask("/api/v1/traces", {
    service: trace.summary.root_service, operation: trace.summary.root_name, start: String(at - 3600), end: String(at + 3600), limit: 300,
  }, signal);
  return answer.traces.filter((each) => each.trace_id !== trace.trace_id && each.root_service === trace.summary?.root_service && each.root_name === trace.summary.root_name);
}

/** The trace in the middle of those that went well, and the slowest. */
export function typical_and_slowest(traces: TraceHit[]): { typical: TraceHit | undefined; slowest: TraceHit | undefined; failed: TraceHit | undefined } {
  const by_duration = (list: TraceHit[]) => [...list].sort((one, other) => Number(one.duration) - Number(other.duration) || (one.trace_id < other.trace_id ? -1 : 1));
  const well = by_duration(traces.filter((each) => each.error_count === 0));
  return { typical: well[Math.floor(well.length / 2)], slowest: by_duration(traces).at(-1), failed: traces.find((each) => each.error_count > 0) };
}
