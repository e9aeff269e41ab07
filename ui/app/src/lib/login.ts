import { ApiError, ask, post } from "./api";
import { logged_in, session } from "./session.svelte";
import type { Principal } from "./types";

/** Asks who we are. */
export async function whoami() {
  const { logins } = session;
  try {
    entered(await ask("/api/v1/auth/me", {}));
  } catch (error) {
    // Of other trouble the page tells whose answer is missing.
    if (error instanceof ApiError && error.status === 401 && logins === session.logins) session.needed = true;
  }
}

export async function login(name: string, password: string) {
  entered(await post("/api/v1/auth/login", { name, password }));
}

export async function logout() {
  await post("/api/v1/auth/logout", undefined);
  // Nothing of what was shown stays in memory.
  location.reload();
}

function entered(me: Principal) {
  const former = session.me;
  // What one person was shown another may not see.
  if (former && (former.name !== me.name || former.tenant !== me.tenant)) return location.reload();
  session.me = me;
  if (session.needed) logged_in();
}

/** Where the login of another provider begins; it leads back to this page. */
export function provider_address(url: string): string {
  return `${url}?${new URLSearchParams({ return: location.pathname + location.search })}`;
}
