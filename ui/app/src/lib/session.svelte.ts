import type { Principal } from "./types";

/** Who uses this page, as far as the server told; `needed` once it answered that it knows nobody. */
export const session = $state<{ me: Principal | undefined; needed: boolean; logins: number }>({ me: undefined, needed: false, logins: 0 });

let waiting: (() => void)[] = [];

/** Until somebody has logged in. */
export function login_wanted(signal?: AbortSignal | null): Promise<void> {
  session.needed = true;
  return new Promise((resolve, reject) => {
    waiting.push(resolve);
    signal?.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
}

export function logged_in() {
  session.logins += 1;
  session.needed = false;
  for (const resume of waiting) resume();
  waiting = [];
}
