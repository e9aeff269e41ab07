// The shapes of the public API, by hand until the server describes itself. 64-bit numbers and nanoseconds are strings.
export type Value = string | number | boolean | null | Value[] | { [key: string]: Value };
export type Attributes = { [key: string]: Value };

export interface LogRecord {
  time: string;
  observed_time?: string;
  service: string;
  severity_number: number;
  severity_text?: string;
  body?: Value;
  event_name?: string;
  trace_id?: string;
  span_id?: string;
  attributes: Attributes;
  resource: Attributes;
  scope: Attributes;
  direct?: boolean;
}

export interface LogsAnswer {
  logs: LogRecord[];
  next_cursor: string | null;
  matched: number;
  matched_exact: boolean;
  histogram?: Histogram;
  facets?: Record<string, Facet>;
  elapsed_ms: number;
  partial: boolean;
  warnings: string[];
}
export interface Histogram { interval: string; buckets: Bucket[] }
export interface Bucket { time: string; count: number; severities: Record<string, number> }
export interface Facet { values: { value: string; count: number }[]; distinct: number; missing: number; estimated: boolean }

export interface Span {
  trace_id: string;
  span_id: string;
  parent_span_id?: string;
  name: string;
  service: string;
  kind: string;
  start_time: string;
  end_time?: string;
  duration?: string;
  status: { code: "unset" | "ok" | "error"; message?: string };
  attributes: Attributes;
  resource: Attributes;
  scope: Attributes;
  events: { time?: string; name: string; attributes: Attributes }[];
  links: { trace_id?: string; span_id?: string; attributes: Attributes }[];
  depth: number;
  conflict?: boolean;
  direct?: boolean;
}
export interface Summary {
  root_service: string;
  root_name: string;
  start_time: string;
  end_time: string;
  duration: string;
  span_count: number;
  error_count: number;
  missing_parents: number;
  services: string[];
}
export interface Trace {
  trace_id: string;
  summary: Summary | null;
  spans: Span[];
  logs: LogRecord[];
  next?: number | null;
  truncated?: boolean;
  warnings?: string[];
}
export interface TraceHit extends Summary { trace_id: string; matched_spans: number }
export interface Exemplar { time: string; metric: string; service: string; series: Attributes; value?: number; trace_id?: string; span_id?: string }
export interface Story {
  id: string;
  kind: string;
  counts: { logs: number; spans: number; exemplars: number; traces: number };
  traces: Trace[];
  other_traces: string[];
  logs: LogRecord[];
  exemplars: Exemplar[];
  follow: { key: string; value: string; logs: number; spans: number }[];
  truncated: boolean;
  warnings: string[];
  why_nothing?: { searched: Record<string, number>; hint: string };
  elapsed_ms: number;
}
export interface ServiceGraph {
  nodes: { name: string; kind: "service" | "database" | "external"; requests: string; errors: string; p95: string | null }[];
  calls: { caller: string; callee: string; callee_kind: "service" | "database" | "external"; kind: "call" | "message"; requests: string; errors: string; p95: string | null }[];
  sampled_share: number;
  truncated: boolean;
  partial: boolean;
  warnings: string[];
  elapsed_ms: number;
}
export interface ServiceCounts { name: string; logs: string; metrics: string; spans: string }
export interface SqlAnswer {
  columns: { name: string; type: string }[];
  rows: Value[][];
  row_count: number;
  truncated: boolean;
  elapsed_ms: number;
  partial: boolean;
  warnings: string[];
}
/** The buckets of a native histogram: which ends belong to them, lower and upper end, count. */
export interface PromHistogram { count: string; sum: string; buckets?: [number, string, string, string][] }
export interface PromSeries { metric: Record<string, string>; values?: [number, string][]; value?: [number, string]; histograms?: [number, PromHistogram][]; histogram?: [number, PromHistogram] }
export interface PromData { resultType: "matrix" | "vector" | "scalar" | "string"; result: PromSeries[] }
export interface PromExemplars { seriesLabels: Record<string, string>; exemplars: { labels: Record<string, string>; value: string; timestamp: number }[] }

export interface Alert {
  labels: Record<string, string>;
  annotations: Record<string, string>;
  state: "firing" | "pending" | "inactive" | string;
  activeAt: string;
  value: string;
  firedAt?: string;
}
export interface Rule {
  type: "alerting" | "recording";
  name: string;
  query: string;
  queryType: string;
  health: "ok" | "err" | "unknown";
  lastError?: string;
  evaluationTime: number;
  lastEvaluation: string;
  state?: string;
  duration?: number;
  keepFiringFor?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  alerts?: Alert[];
}
export interface RuleGroup { name: string; file: string; interval: number; evaluationTime: number; lastEvaluation: string; rules: Rule[]; missedIterations?: number }
export interface ManagedAlert {
  labels: Record<string, string>;
  annotations: Record<string, string>;
  fingerprint: string;
  startsAt: string;
  status: { state: string; silencedBy: string[]; inhibitedBy: string[]; mutedBy?: string[] };
  incident?: string;
}
export interface Silence { id: string; status: { state: string }; comment: string; createdBy: string; startsAt: string; endsAt: string; matchers: { name: string; value: string; isRegex: boolean; isEqual?: boolean }[] }

export interface Budget { start: number; end: number; sli: number | null; bad: number; total: number; coverage: number; budget_events: number; budget_minutes: number; left_share: number; left_events: number; left_minutes: number }
export interface Slo {
  name: string;
  display_name: string | null;
  service: string;
  description: string | null;
  objective: number;
  window: { duration: string; is_rolling: boolean; start: number; end: number };
  budget: Budget | null;
  burn_rate_1h: number | null;
  exhaustion_seconds: number | null;
  active_alerts: number;
  watermark: number | null;
  health: unknown;
}
export interface BurnRate { window: string; seconds: number; rate: number | null; state: string; bad: number; total: number; coverage: number; thresholds: Record<string, number> }
export interface SloView extends Slo {
  indicator: { written: string; slice_seconds: number; budgeting: unknown; group_by: string[] };
  runbook_url: string | null;
  defined_at: string;
  burn_rates: BurnRate[];
  one_bad_event_burns: number | null;
  forecast_share: number | null;
  alerts: { active: { labels: Record<string, string>; annotations: Record<string, string>; value: number }[]; held: { labels: Record<string, string>; reason: string }[] };
  burn_down: { at: number; left_share: number | null; sli: number | null }[];
  groups: { labels: Record<string, string>; budget: Budget; burn_rate_1h: number | null }[];
  top_burners: Value;
}
export interface BacktestReport {
  startMs: number;
  endMs: number;
  notifications: number;
  rules: {
    group: string;
    rule: string;
    firings: { labels: Record<string, string>; annotations: Record<string, string>; value: string; activeAtMs: number; firedAtMs: number; resolvedAtMs: number | null }[];
    firingsTotal: number;
    neverFired: number;
    firingSeconds: number;
    flaps: number;
    shortLived: number;
    evaluations: number;
    failures: number;
    firstError?: string;
    noise?: { score: number };
  }[];
}

/** What explains an incident; members may be absent. */
export interface Evidence {
  summary?: string;
  origin?: { service?: string; version?: string; deploy?: string; reasons?: string[] } | null;
  traces?: (string | { trace_id: string; text?: string; why?: string })[];
  log_patterns?: { service: string; pattern: string; severity: number; before: number; during: number; new: boolean; samples?: { text: string; time: string; trace_id?: string }[] }[];
  attributes?: { name: string; value: string; text: string; bad_share: number; other_share: number }[];
  deploys?: { service: string; version: string; previous: string | null; at: string; text: string }[];
  incomplete?: string[];
  onset?: string;
}
export interface Incident {
  id: string;
  opened_at: string;
  closed_at: string | null;
  services: string[];
  /** What has resolved may have lost its labels. */
  alerts: { labels: Record<string, string> | null; annotations: Record<string, string> | null; fingerprint: string; onset: string; resolved_at: string | null; service: string }[];
  evidence: Evidence | null;
}
