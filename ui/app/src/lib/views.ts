// Searches and queries that people saved under a name; the server keeps them for everybody.
import { ask, put, remove } from "./api";
import type { View, ViewPage } from "./types";

/** Where a view is shown, and what it is called. */
export const PAGES: Record<ViewPage, { path: string; what: string }> = {
  logs: { path: "/logs", what: "saved log search" },
  traces: { path: "/traces", what: "saved trace search" },
  metrics: { path: "/promql", what: "saved queries" },
  sql: { path: "/sql", what: "saved statement" },
};

/** What says how a page is looked at, rather than what is on it. */
const LEFT_OUT = ["refresh", "live"];

/** The parameters of a page as they are saved. */
export function query_of(search: string): string {
  const parameters = new URLSearchParams(search);
  for (const name of LEFT_OUT) parameters.delete(name);
  return parameters.toString();
}

export const address_of = (view: Pick<View, "page" | "query">): string => {
  const { path } = PAGES[view.page];
  return view.query ? `${path}?${view.query}` : path;
};

export async function list_views(page?: ViewPage, signal?: AbortSignal): Promise<View[]> {
  return (await ask("/api/v1/views", page ? { page } : {}, signal)).views;
}

export const save_view = (page: ViewPage, name: string, search: string): Promise<View> => put("/api/v1/views/{page}/{name}", { page, name }, { query: query_of(search) });

export const remove_view = (view: View): Promise<void> => remove("/api/v1/views/{page}/{name}", { page: view.page, name: view.name });
