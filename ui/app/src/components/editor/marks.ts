// Where in a text the server found what it could not read.

/** A stretch of a text, in UTF-16 units as the editor counts. */
export interface Mark { from: number; to: number; message: string }

/** The offset of a line and a column, both from 1; columns count code points. */
function offset_of(text: string, line: number, column: number): number {
  const lines = text.split("\n");
  let offset = 0;
  for (const each of lines.slice(0, line - 1)) offset += each.length + 1;
  const points = [...(lines[line - 1] ?? "")];
  return offset + points.slice(0, Math.max(0, column - 1)).join("").length;
}

/** From an offset to the end of its word, or of one letter where no word begins. */
function word_at(text: string, from: number): { from: number; to: number } {
  const at = Math.min(from, text.length);
  const word = /^[\w.:]+/u.exec(text.slice(at))?.[0] ?? "";
  if (word) return { from: at, to: at + word.length };
  // At the end of the text there is nothing to underline but what is before it.
  return at < text.length ? { from: at, to: at + 1 } : { from: Math.max(0, text.trimEnd().length - 1), to: text.length };
}

/** From where a search cannot be read: a quotation or an expression to its end, else the word. */
function piece_at(text: string, from: number): { from: number; to: number } {
  const opens = text[from];
  if (opens !== '"' && opens !== "/") return word_at(text, from);
  const end = text.indexOf(opens, from + 1);
  return { from, to: end < 0 ? text.length : end + 1 };
}

/** What the server says of a search of logs or spans: `column` counts characters from 1. */
export function search_mark(text: string, error: { message: string; hint?: string | undefined; column?: number | undefined }): Mark | undefined {
  if (error.column === undefined) return undefined;
  // The lines after the first one draw what the editor underlines.
  const said = (error.message.split("\n")[0] ?? "").replace(/^cannot read the query at column \d+: /, "");
  return { ...piece_at(text, offset_of(text, 1, error.column)), message: error.hint ? `${said}: ${error.hint}` : said };
}

/** `invalid parameter "query": 1:5: parse error: unexpected …`, as Prometheus says it. */
export function promql_mark(text: string, message: string): Mark {
  const match = /(\d+):(\d+): parse error: ([\s\S]*)$/.exec(message);
  const plain = (match?.[3] ?? message.replace(/^invalid parameter "query": /, "")).replace(/^parse error: /, "");
  if (!match) return { from: 0, to: text.length, message: plain };
  return { ...word_at(text, offset_of(text, Number(match[1]), Number(match[2]))), message: plain };
}

/** `… at Line: 1, Column: 8`, or the name of what is not there. */
export function sql_mark(text: string, message: string): Mark | undefined {
  const place = /Line: (\d+), Column: (\d+)/.exec(message);
  if (place) return { ...word_at(text, offset_of(text, Number(place[1]), Number(place[2]))), message };
  const named = /there is no (?:table|column) "([^"]+)"|[Ii]nvalid function '([^']+)'|'([^']+)' (?:is not|not found)/.exec(message);
  const name = (named?.[1] ?? named?.[2] ?? named?.[3] ?? "").split(".").at(-1);
  if (!name) return undefined;
  const found = new RegExp(`(?<![\\w])${name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}(?![\\w])`, "iu").exec(text);
  return found ? { from: found.index, to: found.index + found[0].length, message } : undefined;
}
