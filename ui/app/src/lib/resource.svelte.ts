import { untrack } from "svelte";

import { ApiError } from "./api";
import { clock } from "./time.svelte";

/** What was asked of the server: the former answer stays until the new one is here, and what is no longer wanted is cancelled. */
export interface Resource<T> {
  readonly data: T | undefined;
  readonly error: ApiError | undefined;
  readonly loading: boolean;
}

/**
 * Asks when `key` changes and at every tick of the clock; `null` asks nothing. To be called while a component is made.
 * With `keeps` the answer to a former key is shown until the new one comes.
 */
export function resource<T>(key: () => string | null, load: (signal: AbortSignal) => Promise<T>, keeps = true): Resource<T> {
  type State = { data: T | undefined; error: ApiError | undefined; loading: boolean };
  const held = new (class {
    state = $state.raw<State>({ data: undefined, error: undefined, loading: true });
  })();
  let last: string | null = null;
  $effect(() => {
    const wanted = key();
    void clock.ticks;
    if (wanted === null) return;
    const controller = new AbortController();
    untrack(() => {
      const former = keeps || wanted === last ? held.state.data : undefined;
      held.state = { data: former, error: undefined, loading: true };
      last = wanted;
      load(controller.signal).then(
        (data) => {
          if (!controller.signal.aborted) held.state = { data, error: undefined, loading: false };
        },
        (error: unknown) => {
          if (controller.signal.aborted) return;
          const known = error instanceof ApiError ? error : new ApiError(error instanceof Error ? error.message : String(error), 0);
          held.state = { data: former, error: known, loading: false };
        },
      );
    });
    return () => controller.abort();
  });
  return {
    get data() { return held.state.data; },
    get error() { return held.state.error; },
    get loading() { return held.state.loading; },
  };
}
