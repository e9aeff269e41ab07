// All state that a person may want to send to a colleague is in the URL: this is the one place that reads and writes it.
export const route = $state({ path: location.pathname, search: location.search });

/** Parameters that stay when the page changes: they say when, not what. */
const KEPT = ["start", "end", "tz", "refresh"];

type Patch = Record<string, string | number | null | undefined>;

export function parameters(): URLSearchParams {
  return new URLSearchParams(route.search);
}

export function parameter(name: string, otherwise = ""): string {
  return parameters().get(name) ?? otherwise;
}

function apply(query: URLSearchParams, patch: Patch) {
  for (const [name, value] of Object.entries(patch)) {
    if (value === null || value === undefined || value === "") query.delete(name);
    else query.set(name, String(value));
  }
}

/** The address of a page with the current range of time. */
export function href(path: string, patch: Patch = {}): string {
  const query = new URLSearchParams();
  const now = parameters();
  for (const name of KEPT) {
    const value = now.get(name);
    if (value !== null) query.set(name, value);
  }
  apply(query, patch);
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

export function go(address: string, replace = false) {
  const target = new URL(address, location.href);
  const is_same = target.pathname === location.pathname && target.search === location.search;
  if (replace || is_same) history.replaceState(null, "", target);
  else history.pushState(null, "", target);
  sync();
}

/** Changes parameters of this page. */
export function update(patch: Patch, replace = false) {
  const query = parameters();
  apply(query, patch);
  const text = query.toString();
  go(text ? `${route.path}?${text}` : route.path, replace);
}

function sync() {
  const changed = route.path !== location.pathname;
  route.path = location.pathname;
  route.search = location.search;
  if (changed) scrollTo(0, 0);
}

/** Links are ordinary links; a plain click on one of ours stays in the page. */
export function start() {
  addEventListener("popstate", sync);
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest?.("a[href]");
    if (!(link instanceof HTMLAnchorElement) || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
    event.preventDefault();
    go(link.href);
  });
}
