import { expect, test } from "vitest";

import { deploys_of, examples } from "./evidence";
import type { Evidence } from "./types";

const id = (letter: string) => letter.repeat(32);
const pattern = (service: string, severity: number, traces: string[]) => ({ service, severity, pattern: "p", before: 0, during: 1, new: true, samples: traces.map((trace_id) => ({ text: `${service} says`, time: "0", trace_id })) });

test("the traces whose logs tell the cause come first, each once, and what is no ID not at all", () => {
  const evidence: Evidence = {
    origin: { service: "payment" },
    traces: [{ trace_id: id("e") }, { trace_id: id("a") }, { trace_id: "' OR 1=1" }],
    log_patterns: [pattern("storefront", 17, [id("f")]), pattern("payment", 17, [id("a"), id("b"), id("c")])],
  };
  expect(examples(evidence)).toEqual([
    { id: id("a"), says: "payment says" }, { id: id("b"), says: "payment says" }, { id: id("e"), says: undefined },
    { id: id("c"), says: "payment says" }, { id: id("f"), says: "storefront says" },
  ]);
  expect(examples({})).toEqual([]);
});

test("what replaced a version is told apart from what was first seen", () => {
  const deploy = (service: string, previous: string | null) => ({ service, previous, version: "2", at: "0", change: "deployed", text: service });
  const found = deploys_of({ deploys: [deploy("a", null), deploy("payment", "2.4.0")] });
  expect([found.replaced.map((each) => each.service), found.seen.map((each) => each.service)]).toEqual([["payment"], ["a"]]);
});
