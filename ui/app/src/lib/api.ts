import type { paths } from "./api.gen";
import { login_wanted, session } from "./session.svelte";
import type { SqlAnswer, Value } from "./types";

// What may be asked, with what, and what comes back is what the server's description says: see api.gen.ts.
type Method = "get" | "put" | "post" | "patch" | "delete";
type With<M extends Method> = { [P in keyof paths]: paths[P] extends Record<M, { responses: unknown }> ? P : never }[keyof paths] & string;
type Given<O, In extends "query" | "path"> = O extends { parameters: { [K in In]?: infer G } } ? ([G] extends [never] ? unknown : G extends undefined ? unknown : { [N in keyof G]: G[N] | null }) : unknown;
/** Parameters of the query and of the path in one. */
type Parameters<P extends keyof paths, M extends Method> = Given<paths[P][M], "query"> & Given<paths[P][M], "path">;
type Answer<P extends keyof paths, M extends Method> = paths[P][M] extends { responses: { 200: { content: { "application/json": infer A } } } } ? A : paths[P][M] extends { responses: { 201: { content: { "application/json": infer A } } } } ? A : void;
type Body<P extends keyof paths, M extends Method> = paths[P][M] extends { requestBody: { content: { "application/json": infer B } } } ? B : undefined;

const PROMETHEUS = "/prometheus/api/v1/";
type PrometheusPath = With<"get"> extends infer P ? (P extends `${typeof PROMETHEUS}${infer Rest}` ? Rest : never) : never;

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

/** An address of the API: `{name}` in the path takes the parameter of this name, the others make the query. */
export function url<P extends With<"get"> | With<"put"> | With<"patch"> | With<"delete">>(path: P, parameters: object = {}): string {
  const query = new URLSearchParams();
  let filled: string = path;
  for (const [name, value] of Object.entries(parameters) as [string, unknown][]) {
    if (value === undefined || value === null) continue;
    if (filled.includes(`{${name}}`)) filled = filled.replace(`{${name}}`, () => encodeURIComponent(String(value)));
    else if (Array.isArray(value)) for (const each of value) query.append(name, String(each));
    else if (value !== "") query.set(name, String(value));
  }
  const text = query.toString();
  return text ? `${filled}?${text}` : filled;
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

const AUTH = "/api/v1/auth/";

/** Asks the server. Where it does not know us any more, somebody logs in and it is asked again. */
export async function open(path: string, init: RequestInit): Promise<Response> {
  for (;;) {
    const { logins } = session;
    const answer = await send_once(path, init);
    if (answer.status !== 401 || path.startsWith(AUTH)) return answer;
    // What was refused before a login is no news after it.
    if (logins === session.logins) await login_wanted(init.signal);
  }
}

async function send_once(path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(path, init);
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError("the server cannot be reached", 0, "is Trivium running, and is this page's address still right?");
  }
}

/** What went wrong, when the answer says that something did. */
export async function refusal(answer: Response): Promise<ApiError> {
  const text = await answer.text();
  try {
    return problem(answer.status, JSON.parse(text));
  } catch {
    return problem(answer.status, text);
  }
}

async function send<T>(path: string, init: RequestInit): Promise<T> {
  const answer = await open(path, init);
  if (!answer.ok) throw await refusal(answer);
  const text = await answer.text();
  if (!text) return undefined as T;
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new ApiError("the answer is no JSON", answer.status);
  }
}

export function ask<P extends With<"get">>(path: P, parameters: Parameters<P, "get">, signal?: AbortSignal): Promise<Answer<P, "get">> {
  return send(url(path, parameters as object), signal ? { signal } : {});
}

const json = (method: string, body: unknown): RequestInit => (body === undefined ? { method } : { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

export function post<P extends With<"post">>(path: P, body: Body<P, "post">, signal?: AbortSignal): Promise<Answer<P, "post">> {
  return send(path, signal ? { ...json("POST", body), signal } : json("POST", body));
}

export function put<P extends With<"put">>(path: P, parameters: Parameters<P, "put">, body: Body<P, "put">): Promise<Answer<P, "put">> {
  return send(url(path, parameters as object), json("PUT", body));
}

export function patch<P extends With<"patch">>(path: P, parameters: Parameters<P, "patch">, body: Body<P, "patch">): Promise<Answer<P, "patch">> {
  return send(url(path, parameters as object), json("PATCH", body));
}

export function remove<P extends With<"delete">>(path: P, parameters: Parameters<P, "delete">): Promise<Answer<P, "delete">> {
  return send(url(path, parameters as object), { method: "DELETE" });
}

export function sql(statement: string, signal?: AbortSignal, options: { max_rows?: number } = {}): Promise<SqlAnswer> {
  return post("/api/v1/sql", { sql: statement, ...options }, signal);
}

/** The rows of an answer as objects. */
export async function rows<T = Record<string, Value>>(statement: string, signal?: AbortSignal): Promise<T[]> {
  const answer = await sql(statement, signal, { max_rows: 10_000 });
  return answer.rows.map((row) => Object.fromEntries(answer.columns.map((column, index) => [column.name, row[index]])) as T);
}

/** A text as a literal of SQL. */
export const quote = (text: string) => `'${text.replaceAll("'", "''")}'`;

/** The `data` of an answer of Prometheus' API. */
export async function prometheus<R extends PrometheusPath>(
  path: R,
  parameters: Parameters<`${typeof PROMETHEUS}${R}`, "get">,
  signal?: AbortSignal,
): Promise<Answer<`${typeof PROMETHEUS}${R}`, "get"> extends { data: infer D } ? D : never> {
  const answer = (await ask(`${PROMETHEUS}${path}` as With<"get">, parameters as Parameters<With<"get">, "get">, signal)) as unknown as { data: unknown };
  return answer.data as Answer<`${typeof PROMETHEUS}${R}`, "get"> extends { data: infer D } ? D : never;
}
