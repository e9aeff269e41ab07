// The shapes of the public API under short names. They are made from what the server says of itself: `npm run api`.
import type { components } from "./api.gen";

type Schemas = components["schemas"];

export type Value = Schemas["Value"];
export type Attributes = Schemas["Attributes"];

export type LogRecord = Schemas["LogRecord"];
export type LogsAnswer = Schemas["LogsAnswer"];
export type Histogram = Schemas["Histogram"];
export type Bucket = Schemas["HistogramBucket"];
export type Facet = Schemas["Facet"];

export type Span = Schemas["Span"];
export type Summary = Schemas["TraceSummary"];
export type Trace = Schemas["Trace"];
export type TraceHit = Schemas["TraceHit"];
export type Exemplar = Schemas["Exemplar"];
export type Story = Schemas["Story"];
export type ServiceCounts = Schemas["ServiceCounts"];
export type ServiceGraph = Schemas["ServiceGraph"];

export type SqlColumn = Schemas["SqlColumn"];
export type SqlAnswer = Schemas["SqlAnswer"];
export type View = Schemas["View"];
export type ViewPage = Schemas["ViewPage"];

export type PromSeries = Schemas["PromSeries"];
export type PromData = Schemas["PromData"];
export type PromExemplars = Schemas["PromExemplars"];

export type Alert = Schemas["Alert"];
export type Rule = Schemas["Rule"];
export type RuleGroup = Schemas["RuleGroup"];
export type ManagedAlert = Schemas["ManagedAlert"];
export type Acknowledgement = Schemas["Acknowledgement"];
export type Silence = Schemas["Silence"];
export type BacktestReport = Schemas["BacktestReport"];

export type Budget = Schemas["Budget"];
export type Slo = Schemas["Slo"];
export type SloView = Schemas["SloView"];
export type BurnRate = Schemas["BurnRate"];

export type OtlpListener = Schemas["OtlpListener"];

export type Principal = Schemas["Principal"];
export type LoginMethods = Schemas["LoginMethods"];
export type Role = Schemas["Role"];
export type User = Schemas["User"];
export type Token = Schemas["Token"];
export type AuditLine = Schemas["AuditLine"];

/** What explains an incident; members may be absent. */
export type Evidence = Schemas["Evidence"];
export type Deploy = Schemas["Deploy"];
export type Incident = Schemas["Incident"];
