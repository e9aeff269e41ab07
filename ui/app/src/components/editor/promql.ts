import { PromQLExtension } from "@prometheus-io/codemirror-promql";
import type { Extension } from "@codemirror/state";

import { ApiError, prometheus } from "../../lib/api";
import { type Mark, promql_mark } from "./marks";

/** PromQL with completion of metrics, labels and their values, asked of the server as they are needed. */
export function promql(metrics: string[]): Extension {
  const language = new PromQLExtension().activateLinter(false);
  // The server has the last word on what can be read, so its parser is asked instead.
  language.setComplete({ remote: { url: "/prometheus", httpMethod: "GET", cache: { initialMetricList: metrics } } });
  return language.asExtension();
}

/** What the server's parser says of an expression. */
export async function check_promql(query: string): Promise<Mark | undefined> {
  try {
    await prometheus("parse_query", { query });
    return undefined;
  } catch (error) {
    return error instanceof ApiError && error.status === 400 ? promql_mark(query, error.message) : undefined;
  }
}
