// Where telemetry is sent to.
import type { OtlpListener } from "./types";

/** The default of `--otlp-http`, for who may not ask where it is. */
const PORT = 4318;

/** The address for exporters over HTTP: the name by which this page was reached, with what the server told of the listener. */
export function endpoint(listener: OtlpListener | undefined, page: Pick<Location, "protocol" | "hostname">): string {
  const scheme = listener ? `${listener.scheme}:` : page.protocol;
  return `${scheme}//${page.hostname || "127.0.0.1"}:${listener?.port ?? PORT}`;
}

/** Whether only programs on the machine of the server can send, of which a person who looks from another one should know. */
export const is_local = (listener: OtlpListener) => /^(127\.|\[::1\])/.test(listener.address);
