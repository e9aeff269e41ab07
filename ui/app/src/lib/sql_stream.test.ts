import { describe, expect, it } from "vitest";

import { ApiError } from "./api";
import { Lines } from "./sql_stream";

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
