import { url } from "../../lib/api";
import { whoami } from "../../lib/login";
import { session } from "../../lib/session.svelte";
import type { LogRecord } from "../../lib/types";

const KEPT = 5_000;

/** New records as they arrive, newest first; `query` null follows nothing. To be called while a component is made. */
export function tail(query: () => string | null) {
  const it = $state({ state: "Connecting", skipped: 0, paused: false });
  const held = new (class {
    logs = $state.raw<LogRecord[]>([]);
  })();
  $effect(() => {
    const wanted = query();
    void session.logins;
    if (wanted === null) return;
    held.logs = [];
    it.skipped = 0;
    it.state = "Connecting";
    const source = new EventSource(url("/api/v1/logs/tail", { query: wanted }));
    let fresh: LogRecord[] = [];
    // A burst is drawn once.
    const timer = setInterval(() => {
      if (fresh.length === 0 || it.paused) return;
      held.logs = [...fresh.reverse(), ...held.logs].slice(0, KEPT);
      fresh = [];
    }, 250);
    source.addEventListener("open", () => (it.state = "Following"));
    source.addEventListener("message", (event) => { if (fresh.length < KEPT) fresh.push(JSON.parse(event.data as string) as LogRecord); });
    source.addEventListener("skipped", (event) => (it.skipped += (JSON.parse((event as MessageEvent<string>).data) as { count: number }).count));
    source.addEventListener("end", (event) => { it.state = `Ended: ${(JSON.parse((event as MessageEvent<string>).data) as { reason: string }).reason}`; source.close(); });
    source.addEventListener("error", () => {
      const is_refused = source.readyState === EventSource.CLOSED;
      it.state = is_refused ? "The server refused: is the search well written?" : "Connection lost, trying again";
      // A refusal has no status here: it may be that nobody is logged in any more.
      if (is_refused) void whoami();
    });
    return () => { clearInterval(timer); source.close(); };
  });
  return {
    get logs() { return held.logs; },
    get state() { return it.state; },
    get skipped() { return it.skipped; },
    get paused() { return it.paused; },
    set paused(paused: boolean) { it.paused = paused; },
  };
}
