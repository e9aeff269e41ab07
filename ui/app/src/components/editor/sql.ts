import type { Completion, CompletionContext, CompletionResult } from "@codemirror/autocomplete";
import { SQLDialect, sql as language } from "@codemirror/lang-sql";
import type { Extension } from "@codemirror/state";

export interface SchemaColumn { table_name: string; column_name: string; data_type: string }

// What can be read, rather than the eight hundred words of a dialect that only change things.
const DIALECT = SQLDialect.define({
  keywords: "select from where group by order having limit offset join left right full inner outer cross on using as and or not in is null like ilike between exists union all intersect except distinct case when then else end with recursive over partition rows range preceding following unbounded current row filter within asc desc nulls first last explain analyze cast try_cast interval extract lateral values true false similar to escape",
  types: "boolean tinyint smallint int integer bigint float real double precision decimal numeric varchar text timestamp date time bytea",
  builtin: "count sum avg min max median stddev var corr approx_distinct approx_percentile_cont approx_median array_agg string_agg first_value last_value nth_value row_number rank dense_rank percent_rank lag lead now date_bin date_trunc date_part to_timestamp to_char coalesce nullif greatest least abs round floor ceil power sqrt ln log10 lower upper trim length substr split_part replace concat starts_with ends_with contains strpos regexp_like regexp_match regexp_replace regexp_count encode decode matches attributes resource scope unnest",
  doubleQuotedStrings: false,
  operatorChars: "*+-%<>!=&|~^/",
});

// What is longer than a word, with what it is good for.
const PHRASES: [string, string, string][] = [
  ["matches", "matches(body, '\"a phrase\"')", "log search in a column"], ["attributes", "attributes['http.route']", "an attribute"], ["resource", "resource['service.version']", "an attribute of the resource"],
  ["date_bin", "date_bin(INTERVAL '1 minute', time)", "the minute of a time"], ["percentile", "approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY duration)", "95th percentile"],
  ["filter", "count(*) FILTER (WHERE status_code = 2)", "count what fails"], ["last hour", "time > now() - INTERVAL '1 hour'", "since an hour ago"],
];

/** SQL with the tables and columns of the server. */
export function sql(columns: SchemaColumn[]): Extension {
  const completion = ({ column_name, data_type }: SchemaColumn): Completion => ({ label: column_name, type: "property", detail: data_type.replace(/\(.*/, "").toLowerCase() });
  const schema: Record<string, Completion[]> = {};
  for (const column of columns) (schema[column.table_name] ??= []).push(completion(column));
  // Most statements are about one table: columns are offered without its name too, the frequent ones once.
  const all: Completion[] = [
    ...new Map(columns.map((column) => [column.column_name, { ...completion(column), boost: 1 }])).values(),
    ...PHRASES.map(([label, apply, detail]): Completion => ({ label, apply, detail, displayLabel: apply, type: "function" })),
  ];
  const source = (context: CompletionContext): CompletionResult | null => {
    // After a dot the columns of one table are offered.
    const word = context.matchBefore(/(?<![.\w'])\w+/);
    return word || context.explicit ? { from: word?.from ?? context.pos, options: all, validFor: /^\w*$/ } : null;
  };
  return [language({ dialect: DIALECT, schema, upperCaseKeywords: true }), DIALECT.language.data.of({ autocomplete: source })];
}
