// The name under which somebody acknowledges and silences, remembered in this browser.
export function author(): string {
  try {
    return localStorage.getItem("author") ?? "";
  } catch {
    return "";
  }
}

export function remember_author(name: string) {
  try {
    localStorage.setItem("author", name);
  } catch { /* private mode */ }
}
