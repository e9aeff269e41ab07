import type { LogRecord, Span } from "./types";

/** A span with its place in the waterfall. */
export interface Row {
  index: number;
  span: Span;
  /** Nanoseconds after the start of the trace. */
  start: number;
  duration: number;
  depth: number;
  /** The index after its last descendant. */
  after: number;
  /** Descendants with errors. */
  errors_below: number;
  is_error: boolean;
  is_critical: boolean;
  /** It begins before or ends after its parent although it is called synchronously: the clocks differ. */
  is_skewed: boolean;
  /** Of its duration not spent in children. */
  self: number;
}

export interface Waterfall {
  rows: Row[];
  /** Nanoseconds since 1970. */
  start: bigint;
  total: number;
  by_id: Map<string, Row>;
}

/** The API gives spans parents first, children in time order, with their depth. */
export function waterfall(spans: Span[]): Waterfall {
  const starts = spans.map((span) => BigInt(span.start_time));
  const start = starts.reduce((least, time) => (time < least ? time : least), starts[0] ?? 0n);
  const rows: Row[] = spans.map((span, index) => ({
    index,
    span,
    start: Number((starts[index] ?? start) - start),
    duration: Number(span.duration ?? 0),
    depth: span.depth,
    after: index + 1,
    errors_below: 0,
    is_error: span.status.code === "error",
    is_critical: false,
    is_skewed: false,
    self: 0,
  }));
  const total = Math.max(1, ...chunked_max(rows));
  const by_id = new Map<string, Row>();
  for (const row of rows) if (!by_id.has(row.span.span_id)) by_id.set(row.span.span_id, row);
  const open: Row[] = [];
  for (const row of rows) {
    while (open.length > 0 && (open.at(-1) as Row).depth >= row.depth) close(open, row.index);
    for (const above of row.is_error ? open : []) above.errors_below += 1;
    open.push(row);
  }
  while (open.length > 0) close(open, rows.length);
  for (const row of rows) measure(rows, row);
  mark_critical_path(rows);
  return { rows, start, total, by_id };
}

function close(open: Row[], after: number) {
  const row = open.pop();
  if (row) row.after = after;
}

/** `Math.max(...)` of a hundred thousand arguments overflows the stack. */
function chunked_max(rows: Row[]): number[] {
  let most = 1;
  for (const row of rows) most = Math.max(most, row.start + row.duration);
  return [most];
}

export function children(rows: Row[], row: Row): Row[] {
  const found: Row[] = [];
  for (let index = row.index + 1; index < row.after; index = (rows[index] as Row).after) found.push(rows[index] as Row);
  return found;
}

/** From when to when a span did something itself: the times that none of its children covers. */
export function own_times(rows: Row[], row: Row): [number, number][] {
  const end = row.start + row.duration;
  const found: [number, number][] = [];
  let until = row.start;
  for (const child of children(rows, row)) {
    const from = Math.min(child.start, end);
    if (from > until) found.push([until, from]);
    until = Math.max(until, Math.min(child.start + child.duration, end));
  }
  if (end > until) found.push([until, end]);
  return found;
}

/** How long any of these times lasted: what happened at once is counted once. */
export function covered(times: [number, number][]): number {
  let sum = 0;
  let until = -Infinity;
  for (const [from, to] of times.sort((one, other) => one[0] - other[0])) {
    sum += Math.max(0, to - Math.max(from, until));
    until = Math.max(until, to);
  }
  return sum;
}

function measure(rows: Row[], row: Row) {
  for (const child of children(rows, row)) {
    const slack = row.duration * 0.01 + 1000;
    child.is_skewed = child.start < row.start - slack && child.span.kind !== "consumer";
  }
  row.self = covered(own_times(rows, row));
}

/**
 * The spans that decided when the trace ended: from the end of the longest root backwards, always the child that ended last
 * before the time that is not yet explained.
 */
export function mark_critical_path(rows: Row[]) {
  const roots: Row[] = [];
  for (let index = 0; index < rows.length; index = (rows[index] as Row).after) roots.push(rows[index] as Row);
  const root = roots.reduce<Row | undefined>((best, row) => (!best || row.duration > best.duration ? row : best), undefined);
  const work: Row[] = root ? [root] : [];
  while (work.length > 0) {
    const row = work.pop() as Row;
    row.is_critical = true;
    const end = row.start + row.duration;
    let until = end;
    // What outlives its parent, such as the server's side of a call that timed out, counts up to the parent's end.
    const end_of = (child: Row) => Math.min(end, child.start + child.duration);
    for (const child of children(rows, row).sort((one, other) => end_of(other) - end_of(one))) {
      // What ends while a later one runs overlaps it.
      if (child.duration === 0 || child.start >= end || end_of(child) > until + row.duration * 0.001) continue;
      work.push(child);
      until = child.start;
    }
  }
}

/** The rows that are shown when some are collapsed. */
export function visible(rows: Row[], collapsed: ReadonlySet<number>): Row[] {
  if (collapsed.size === 0) return rows;
  const shown: Row[] = [];
  for (let index = 0; index < rows.length; ) {
    const row = rows[index] as Row;
    shown.push(row);
    index = collapsed.has(index) ? row.after : index + 1;
  }
  return shown;
}

export function logs_by_span(logs: LogRecord[]): Map<string, LogRecord[]> {
  const found = new Map<string, LogRecord[]>();
  for (const log of logs) {
    if (!log.span_id) continue;
    const list = found.get(log.span_id);
    if (list) list.push(log);
    else found.set(log.span_id, [log]);
  }
  return found;
}
