// What of an incident's evidence is worth a click, and in which order.
import { rows } from "./api";
import type { Deploy, Evidence } from "./types";

/** A trace to look at, and what its log says of the cause when that is known. */
export interface Example { id: string; says: string | undefined }

const EXAMPLES = 6;

/** Traces that show it: those whose logs tell the cause come first, of the service where it likely began before others. */
export function examples(evidence: Evidence): Example[] {
  const origin = evidence.origin?.service;
  const patterns = [...(evidence.log_patterns ?? [])].sort((one, other) => Number(other.service === origin) - Number(one.service === origin) || other.severity - one.severity);
  const told = new Map<string, string>();
  for (const pattern of patterns) for (const sample of pattern.samples ?? []) if (sample.trace_id && !told.has(sample.trace_id)) told.set(sample.trace_id, sample.text);
  const first = patterns[0]?.samples?.flatMap((sample) => sample.trace_id ?? []) ?? [];
  const ids = [...first.slice(0, 2), ...(evidence.traces ?? []).map((trace) => trace.trace_id), ...told.keys()];
  // They go into a statement.
  return [...new Set(ids)].filter((id) => /^[0-9a-f]{32}$/.test(id)).slice(0, EXAMPLES).map((id) => ({ id, says: told.get(id) }));
}

/** What a trace is, in a line. */
export interface About { trace_id: string; spans: string; errors: string; duration: string; service: string | null; name: string | null }

export async function about(ids: string[], signal?: AbortSignal): Promise<Map<string, About>> {
  const found = await rows<About>(
    `SELECT trace_id, count(*) AS spans, count(*) FILTER (WHERE status_code = 2) AS errors, max(duration) AS duration,
     max(service_name) FILTER (WHERE parent_span_id IS NULL) AS service, max(name) FILTER (WHERE parent_span_id IS NULL) AS name
     FROM spans WHERE trace_id IN (${ids.map((id) => `'${id}'`).join(", ")}) GROUP BY trace_id`,
    signal,
  );
  return new Map(found.map((each) => [each.trace_id, each]));
}

/** What replaced another version, and what was merely seen for the first time. */
export function deploys_of(evidence: Evidence): { replaced: Deploy[]; seen: Deploy[] } {
  const all = evidence.deploys ?? [];
  return { replaced: all.filter((each) => each.previous), seen: all.filter((each) => !each.previous) };
}
