import type { Principal } from "./types";

/** Who uses this page, as far as the server told; `needed` once it answered that it knows nobody. */
export const session = $state<{ me: Principal | undefined; needed: boolean; logins: number }>({ me: undefined, needed: false, logins: 0 });
