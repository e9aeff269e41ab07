import type { PromData, SqlAnswer, Value } from "./types";

/** What the server said when it could not answer, in its words. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly hint?: string,
    readonly column?: number,
  ) {
    super(message);
  }
}

type Query = Record<string, string | number | boolean | null | undefined>;

export function url(path: string, query: Query = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return text ? `${path}?${text}` : path;
}

function problem(status: number, body: unknown): ApiError {
  const fields = (typeof body === "object" && body !== null ? body : {}) as Record<string, unknown>;
  const error = fields.error;
  if (typeof error === "object" && error !== null) {
    const { message, hint, column } = error as { message?: string; hint?: string; column?: number };
    return new ApiError(message ?? `the server answered ${status}`, status, hint, column);
  }
  if (typeof error === "string") return new ApiError(error, status);
  if (typeof body === "string" && body) return new ApiError(body, status);
  return new ApiError(status === 404 ? "this server does not have it" : `the server answered ${status}`, status);
}

async function send<T>(path: string, init: RequestInit): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(path, init);
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError("the server cannot be reached", 0, "is Trivium running, and is this page's address still right?");
  }
  const text = await answer.text();
  let body: unknown = text;
  try {
    body = JSON.parse(text);
  } catch {
    if (answer.ok && text) throw new ApiError("the answer is no JSON", answer.status);
  }
  if (!answer.ok) throw problem(answer.status, body);
  return body as T;
}

export function ask<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  return send<T>(url(path, query), signal ? { signal } : {});
}

export function post<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
  const init: RequestInit = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  return send<T>(path, signal ? { ...init, signal } : init);
}

export function remove<T>(path: string): Promise<T> {
  return send<T>(path, { method: "DELETE" });
}

export function sql(statement: string, signal?: AbortSignal, options: { max_rows?: number } = {}): Promise<SqlAnswer> {
  return post<SqlAnswer>("/api/v1/sql", { sql: statement, ...options }, signal);
}

/** The rows of an answer as objects. */
export async function rows<T = Record<string, Value>>(statement: string, signal?: AbortSignal): Promise<T[]> {
  const answer = await sql(statement, signal, { max_rows: 10_000 });
  return answer.rows.map((row) => Object.fromEntries(answer.columns.map((column, index) => [column.name, row[index]])) as T);
}

/** A text as a literal of SQL. */
export const quote = (text: string) => `'${text.replaceAll("'", "''")}'`;

export async function prometheus<T = PromData>(path: string, query: Query, signal?: AbortSignal): Promise<T> {
  const answer = await ask<{ data: T }>(`/prometheus/api/v1/${path}`, query, signal);
  return answer.data;
}
