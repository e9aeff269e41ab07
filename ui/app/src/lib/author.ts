import { session } from "./session.svelte";

// The name under which somebody acknowledges and silences, remembered in this browser.
export function author(): string {
  const me = session.me && session.me.how !== "open" ? session.me.name : "";
  try {
    return localStorage.getItem("author") ?? me;
  } catch {
    return me;
  }
}

export function remember_author(name: string) {
  try {
    localStorage.setItem("author", name);
  } catch { /* private mode */ }
}
