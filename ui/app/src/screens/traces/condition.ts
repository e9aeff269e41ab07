import { quote } from "../../lib/api";
import { duration_nanos } from "../../lib/heat";

const STATUS: Record<string, number> = { unset: 0, ok: 1, error: 2 };

/** The spans that a trace search is about, in SQL and in words: whole traces by their roots, a service by what it was asked. */
export function span_condition(wanted: Record<string, string>): { sql: string; what: string } {
  const parts: string[] = [];
  const status = STATUS[wanted.status ?? ""];
  let what = "whole traces";
  if (wanted.operation) {
    parts.push(`name = ${quote(wanted.operation)}`);
    what = `“${wanted.operation}”`;
    if (wanted.service) parts.push(`service_name = ${quote(wanted.service)}`);
  } else if (wanted.service) {
    parts.push(`service_name = ${quote(wanted.service)}`, "kind IN (2, 5)");
    what = `requests to ${wanted.service}`;
  } else if (status !== undefined) {
    // The root of a trace may be well although something within it is not.
    parts.push("kind IN (2, 5)");
    what = "requests";
  } else parts.push("parent_span_id IS NULL");
  if (status !== undefined) parts.push(`status_code = ${status}`);
  for (const [name, operator] of [["min_duration", ">="], ["max_duration", "<="]] as const) {
    const nanos = duration_nanos(wanted[name] ?? "");
    if (nanos !== null) parts.push(`duration ${operator} ${Math.round(nanos)}`);
  }
  return { sql: parts.join(" AND "), what };
}
