// Who may do what, in words, and what the pages of administration compute.
import { ApiError } from "./api";
import { ago } from "./format";
import type { AuditLine, Principal, Role, Token } from "./types";

export const ROLES: { id: Role; label: string; may: string }[] = [
  { id: "admin", label: "Admin", may: "everything, users and tokens included" },
  { id: "editor", label: "Editor", may: "reads, and edits rules, silences and views" },
  { id: "viewer", label: "Viewer", may: "reads" },
  { id: "ingest", label: "Ingest", may: "sends telemetry and reads nothing" },
];

export const SIGNALS = ["logs", "metrics", "traces"] as const;

export const administers = (me: Principal | undefined) => me?.may.includes("administer") ?? false;

/** What went wrong, in the server's words. */
export const said = (error: unknown): string => (error instanceof ApiError ? [error.message, error.hint].filter(Boolean).join("; ") : String(error));

// No letter that looks like another one: people read these to each other.
const LETTERS = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/** A password that nobody can guess: four groups of five letters, 115 bits. */
export function generated(random: (bytes: Uint8Array) => Uint8Array = (bytes) => crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>)): string {
  const letters: string[] = [];
  while (letters.length < 20) {
    for (const byte of random(new Uint8Array(32))) {
      // Of 256 values the last ones would make some letters likelier.
      if (byte < 256 - (256 % LETTERS.length) && letters.length < 20) letters.push(LETTERS[byte % LETTERS.length] ?? "");
    }
  }
  return [0, 5, 10, 15].map((at) => letters.slice(at, at + 5).join("")).join("-");
}

/** Times of the access API are numbers of nanoseconds; what a double leaves of them is enough to show. */
export const at = (nanos: number) => nanos / 1e6;

export function state_of(token: Token, now: number): { label: string; kind: "good" | "warn" | "" } {
  if (token.revoked !== null) return { label: "revoked", kind: "" };
  if (!token.valid) return { label: "expired", kind: "" };
  if (token.expires !== null && at(token.expires) - now < 7 * 864e5) return { label: `ends in ${ago(now, at(token.expires))}`, kind: "warn" };
  return { label: "valid", kind: "good" };
}

const ROUTES: Record<string, string> = {
  "POST /api/v1/auth/users": "created a user", "PATCH /api/v1/auth/users/{name}": "changed a user", "DELETE /api/v1/auth/users/{name}": "deleted a user",
  "POST /api/v1/auth/tokens": "created a token", "DELETE /api/v1/auth/tokens/{id}": "revoked a token", "POST /api/v1/auth/tenants": "created a tenant",
  "POST /api/v1/auth/password": "changed the own password", "POST /alertmanager/api/v2/silences": "created or changed a silence", "DELETE /alertmanager/api/v2/silence/{id}": "ended a silence",
  "PUT /api/v1/alerts/{fingerprint}/acknowledgement": "acknowledged an alert", "DELETE /api/v1/alerts/{fingerprint}/acknowledgement": "took an acknowledgement back",
  "PUT /api/v1/views/{page}/{name}": "saved a view", "DELETE /api/v1/views/{page}/{name}": "removed a view",
};

/** What a line of the audit log tells. */
export function told(line: AuditLine): string {
  if (line.action === "login") return line.outcome === "ok" ? "logged in" : "tried to log in";
  if (line.action === "logout") return "logged out";
  if (line.action === "first_token") return "wrote the token of the first admin";
  if (line.action === "denied") return line.target ? "was refused" : "refusals";
  const done = ROUTES[line.target] ?? "changed something";
  return line.outcome === "ok" ? done : `tried: ${done}`;
}

/** Older lines behind those that are there; the ones in both are taken once. */
export function joined(lines: AuditLine[], older: AuditLine[]): AuditLine[] {
  const known = new Set(lines.map((line) => line.sequence));
  return [...lines, ...older.filter((line) => !known.has(line.sequence))];
}

export function matches(line: AuditLine, text: string, outcome: string): boolean {
  if (outcome && line.outcome !== outcome) return false;
  const wanted = text.trim().toLowerCase();
  return !wanted || [line.actor, line.role, line.target, line.detail, line.address, told(line)].some((each) => each?.toLowerCase().includes(wanted));
}
