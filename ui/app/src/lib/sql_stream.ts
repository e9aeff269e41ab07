// Rows of an SQL statement as they come: the server's lines, put together while the rest is under way.
import { ApiError, open, refusal } from "./api";
import type { SqlAnswer, SqlColumn, Value } from "./types";

const LINES = "application/x-ndjson; rows=arrays";
const PARQUET = "application/vnd.apache.parquet";

/** How often what has come is shown. */
const SHOW_MS = 80;

type Ending = Pick<SqlAnswer, "truncated" | "elapsed_ms" | "partial" | "warnings">;

/** Puts lines together that come in pieces. */
export class Lines {
  columns: SqlColumn[] = [];
  rows: Value[][] = [];
  ending: Ending | undefined;
  #rest = "";

  /** Takes a piece. Throws what the server says went wrong. */
  push(piece: string) {
    const lines = (this.#rest + piece).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) if (line) this.#line(line);
  }

  #line(line: string) {
    const read = JSON.parse(line) as Value[] | { columns?: SqlColumn[]; error?: { message: string; hint?: string } } & Partial<Ending>;
    if (Array.isArray(read)) this.rows.push(read);
    else if (read.error) throw new ApiError(read.error.message, 0, read.error.hint);
    else if (read.columns) this.columns = read.columns;
    else this.ending = read as Ending;
  }

  /** What has come so far, or all of it. */
  answer(): SqlAnswer {
    const { columns, rows, ending } = this;
    return { columns, rows, row_count: rows.length, ...(ending ?? { truncated: false, elapsed_ms: 0, partial: false, warnings: [] }) };
  }
}

function request(statement: string, accept: string, max_rows: number, signal: AbortSignal): RequestInit {
  return { method: "POST", headers: { "content-type": "application/json", accept }, body: JSON.stringify({ sql: statement, max_rows }), signal };
}

/** Runs a statement; what has come is told a few times a second. */
export async function stream_sql(statement: string, max_rows: number, signal: AbortSignal, onprogress: (answer: SqlAnswer) => void): Promise<SqlAnswer> {
  const answer = await open("/api/v1/sql", request(statement, LINES, max_rows, signal));
  if (!answer.ok || !answer.body) throw await refusal(answer);
  const lines = new Lines();
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let shown = -SHOW_MS;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const show = () => {
    [shown, timer] = [performance.now(), undefined];
    onprogress(lines.answer());
  };
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      lines.push(value);
      // What comes too soon to be shown at once is shown later, for it may be the last that comes for long.
      if (lines.columns.length > 0) timer ??= setTimeout(show, Math.max(0, shown + SHOW_MS - performance.now()));
    }
  } finally {
    clearTimeout(timer);
  }
  if (!lines.ending) throw new ApiError("the answer broke off before its end", 0, "the rows above are not all of them");
  return lines.answer();
}

/** The whole answer as a Parquet file. */
export async function parquet(statement: string, max_rows: number, signal: AbortSignal, onprogress: (bytes: number) => void): Promise<Blob> {
  const answer = await open("/api/v1/sql", request(statement, PARQUET, max_rows, signal));
  if (!answer.ok || !answer.body) throw await refusal(answer);
  const pieces: BlobPart[] = [];
  let bytes = 0;
  const reader = answer.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    bytes += value.length;
    onprogress(bytes);
  }
  return new Blob(pieces, { type: PARQUET });
}

/** Hands a file to the browser. */
export function save(blob: Blob, name: string) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
