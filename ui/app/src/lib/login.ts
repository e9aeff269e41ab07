import { ask, post } from "./api";
import { session } from "./session.svelte";
import { tick } from "./time.svelte";
import type { Principal } from "./types";

/** Asks who we are. That nobody is logged in is seen where all answers are. */
export async function whoami() {
  try {
    entered(await ask("/api/v1/auth/me", {}));
  } catch { /* a page that needs an answer says why there is none */ }
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
  if (!session.needed) return;
  session.logins += 1;
  session.needed = false;
  tick();
}

/** Where the login of another provider begins; it leads back to this page. */
export function provider_address(url: string): string {
  return `${url}?${new URLSearchParams({ return: location.pathname + location.search })}`;
}
