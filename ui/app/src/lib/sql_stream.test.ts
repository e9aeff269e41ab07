import { afterEach, describe, expect, it, vi } from "vitest";

import { ApiError } from "./api";
import { Lines, stream_sql } from "./sql_stream";

const COLUMNS = '{"columns":[{"name":"body","type":"text"}]}\n';
const ENDING = '{"row_count":2,"truncated":true,"elapsed_ms":1.5,"partial":false,"warnings":[]}\n';

describe("Lines", () => {
  it("puts lines together wherever the pieces are cut", () => {
    const text = `${COLUMNS}["one\\n\\"quoted\\" {"]\n["zwölf"]\n${ENDING}`;
    for (let cut = 0; cut <= text.length; cut += 1) {
      const lines = new Lines();
      lines.push(text.slice(0, cut));
      lines.push(text.slice(cut));
      expect(lines.answer()).toEqual({ columns: [{ name: "body", type: "text" }], rows: [['one\n"quoted" {'], ["zwölf"]], row_count: 2, truncated: true, elapsed_ms: 1.5, partial: false, warnings: [] });
    }
  });
  it("has what came although the rest is missing", () => {
    const lines = new Lines();
    lines.push(`${COLUMNS}["one"]\n["tw`);
    expect(lines.answer().rows).toEqual([["one"]]);
    expect(lines.ending).toBeUndefined();
  });
  it("throws what the server says on its way, and keeps the rows before it", () => {
    const lines = new Lines();
    expect(() => lines.push(`${COLUMNS}["one"]\n{"error":{"kind":"cancelled","message":"the query was cancelled after 2s","hint":"narrow it"}}\n`)).toThrow(ApiError);
    expect(lines.rows).toEqual([["one"]]);
  });
});

describe("stream_sql", () => {
  afterEach(() => { vi.unstubAllGlobals(); });
  it("shows what comes right behind what was shown, though nothing follows for long", async () => {
    const pieces = new TransformStream<string, string>();
    const writer = pieces.writable.getWriter();
    vi.stubGlobal("fetch", () => Promise.resolve(new Response(pieces.readable.pipeThrough(new TextEncoderStream()))));
    let told: (rows: number) => void = () => {};
    const shown = (rows: number) => new Promise<void>((resolve) => { told = (now) => { if (now === rows) resolve(); }; });
    const answer = stream_sql("SELECT 1", 10, new AbortController().signal, (now) => { told(now.row_count); });
    const one = shown(1);
    await writer.write(`${COLUMNS}["one"]\n`);
    await one;
    const both = shown(2);
    await writer.write('["two"]\n');
    await both;
    await writer.write(ENDING);
    await writer.close();
    expect(await answer).toMatchObject({ rows: [["one"], ["two"]], truncated: true });
  });
});
