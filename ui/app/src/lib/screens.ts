import type { Component } from "svelte";

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- the properties differ by page
type Page = Component<any>;

/** A page whose code is here, with what it is about: the one is never shown with the other of another page. */
export interface Loaded {
  key: string;
  Page: Page;
  props: Record<string, string>;
}

/** One page: each is a chunk of its own, loaded when it is first seen. */
export interface Screen {
  section: string;
  title: string;
  /** Another key makes the component anew. */
  key: string;
  load: () => Promise<Loaded>;
  props: Record<string, string>;
}

const cache = new Map<string, Screen>();

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function made(path: string): Screen {
  const [, first = "", ...others] = path.split("/");
  const rest = decoded(others.join("/"));
  const page = (section: string, title: string, load: () => Promise<{ default: Page }>, props: Record<string, string> = {}): Screen => {
    const key = section + JSON.stringify(props);
    return { section, title, key, props, load: async () => ({ key, props, Page: (await load()).default }) };
  };
  switch (first) {
    case "": return page("home", "Home", () => import("../screens/home/Home.svelte"));
    case "story": return page("story", rest, () => import("../screens/story/Story.svelte"), { id: rest });
    case "trace": return page("traces", `Trace ${rest.slice(0, 8)}`, () => import("../screens/trace/TracePage.svelte"), { id: rest });
    case "traces": return rest === "compare" ? page("traces", "Compare traces", () => import("../screens/compare/Compare.svelte")) : page("traces", "Traces", () => import("../screens/traces/Traces.svelte"));
    case "logs": return page("logs", "Logs", () => import("../screens/logs/Logs.svelte"));
    case "service":
    case "services": return rest === "" ? page("services", "Services", () => import("../screens/map/Map.svelte")) : page("services", rest, () => import("../screens/service/Service.svelte"), { name: rest });
    case "alerts":
      return rest
        ? page("alerts", rest, () => import("../screens/alerts/AlertPage.svelte"), { name: rest })
        : page("alerts", "Alerts", () => import("../screens/alerts/Alerts.svelte"));
    case "backtest": return page("alerts", "Backtest", () => import("../screens/alerts/Backtest.svelte"));
    case "diagnosis": return page("services", "What changed", () => import("../screens/diagnosis/Diagnosis.svelte"));
    case "slos":
      return rest
        ? page("slos", rest, () => import("../screens/slos/SloPage.svelte"), { name: rest })
        : page("slos", "SLOs", () => import("../screens/slos/Slos.svelte"));
    case "promql": return page("metrics", "Metrics", () => import("../screens/metrics/Metrics.svelte"));
    case "sql": return page("sql", "SQL", () => import("../screens/sql/Sql.svelte"));
    case "account": return page("account", { users: "Users", tokens: "API tokens", audit: "Audit log" }[rest] ?? "Account", () => import("../screens/account/Account.svelte"), { tab: rest });
    case "status": return page("status", "Status", () => import("../screens/status/Status.svelte"));
    default: return page("", "Not found", () => import("../screens/home/NotFound.svelte"));
  }
}

export function screen_of(path: string): Screen {
  let screen = cache.get(path);
  if (!screen) {
    const fresh = made(path);
    let loading: ReturnType<Screen["load"]> | undefined;
    screen = { ...fresh, load: () => (loading ??= fresh.load()) };
    cache.set(path, screen);
  }
  return screen;
}
