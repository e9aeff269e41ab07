import { describe, expect, it } from "vitest";

import { promql_mark, search_mark, sql_mark } from "./marks";

const under = (text: string, mark: { from: number; to: number } | undefined) => (mark ? text.slice(mark.from, mark.to) : undefined);

describe("promql_mark", () => {
  it("stands where Prometheus' message says", () => {
    const text = "sum(rate(up[5m]) by job)";
    const mark = promql_mark(text, 'invalid parameter "query": 1:18: parse error: unexpected <by> in grouping');
    expect(under(text, mark)).toBe("by");
    expect(mark.message).toBe("unexpected <by> in grouping");
  });
  it("counts lines, and letters beyond the first plane as one column", () => {
    const text = 'up{a="🦀"}\n  + nothing(up)';
    expect(under(text, promql_mark(text, '2:5: parse error: unknown function with name "nothing"'))).toBe("nothing");
    const wide = '"🦀🦀" foo';
    expect(under(wide, promql_mark(wide, "1:6: parse error: unexpected identifier"))).toBe("foo");
  });
  it("underlines the last letter when the end is what is wrong, and all when no place is told", () => {
    expect(under("sum(", promql_mark("sum(", "1:5: parse error: unclosed left parenthesis"))).toBe("(");
    expect(under("a + b", promql_mark("a + b", "too deep"))).toBe("a + b");
  });
});

describe("sql_mark", () => {
  it("stands where the parser stopped", () => {
    const text = "SELECT name\nFORM spans";
    expect(under(text, sql_mark(text, "cannot read the statement: sql parser error: Expected: end of statement, found: spans at Line: 2, Column: 6"))).toBe("spans");
  });
  it("finds the name of what is not there, as a whole word", () => {
    const text = "SELECT times, time2, time FROM logs";
    expect(under(text, sql_mark(text, 'there is no column "logs.time"'))).toBe("time");
    expect(sql_mark(text, 'there is no column "logs.time"')?.from).toBe(21);
    expect(under("SELECT * FROM spams", sql_mark("SELECT * FROM spams", 'there is no table "spams"'))).toBe("spams");
  });
  it("marks nothing when there is no place", () => expect(sql_mark("SELECT 1/0", "division by zero")).toBeUndefined());
  it("takes names for text, not for patterns", () => expect(sql_mark("SELECT 1", 'there is no column "a+(b"')).toBeUndefined());
});

describe("search_mark", () => {
  it("underlines the word, the quotation or the expression that cannot be read", () => {
    const marked = (text: string, column: number) => under(text, search_mark(text, { message: "…", column }));
    expect(marked("level:>=bogus service:a", 9)).toBe("bogus");
    expect(marked('ä🦀 "x y', 4)).toBe('"x y');
    expect(marked("/x(/ payment", 1)).toBe("/x(/");
    expect(marked("(a OR b", 1)).toBe("(");
    expect(marked("foo:>a b)", 9)).toBe(")");
  });
  it("underlines the last letter when something is missing at the end", () => expect(under("a AND ", search_mark("a AND ", { message: "…", column: 7 }))).toBe("D "));
  it("says what is wrong and what to do in one sentence, without the drawing for terminals", () => {
    const message = "cannot read the query at column 9: `>=` without a value\n  level:>=\n          ^\nhint: write a number";
    expect(search_mark("level:>=", { message, column: 9, hint: "write a number" })?.message).toBe("`>=` without a value: write a number");
  });
  it("marks nothing when no place is told", () => expect(search_mark("a", { message: "the server is busy" })).toBeUndefined());
});
