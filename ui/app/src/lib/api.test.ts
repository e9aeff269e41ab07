import { afterEach, describe, expect, it, vi } from "vitest";

import { ask, post, url } from "./api";
import { logged_in, session } from "./session.svelte";
import { drawn } from "../screens/slos/points";
import { found_nothing, headline } from "../screens/diagnosis/words";
import { address_of, query_of } from "./views";

describe("url", () => {
  it("fills the path and makes the rest the query", () => {
    expect(url("/api/v1/slos/{name}", { name: "a/b ?" })).toBe("/api/v1/slos/a%2Fb%20%3F");
    expect(url("/api/v1/views/{page}/{name}", { page: "logs", name: "$& {page}" })).toBe("/api/v1/views/logs/%24%26%20%7Bpage%7D");
    expect(url("/api/v1/traces/{trace_id}", { trace_id: "ab", offset: 0, limit: null })).toBe("/api/v1/traces/ab?offset=0");
    expect(url("/alertmanager/api/v2/alerts", { filter: ['a="1"', "b"] })).toBe("/alertmanager/api/v2/alerts?filter=a%3D%221%22&filter=b");
    expect(url("/api/v1/logs", { query: "", start: undefined })).toBe("/api/v1/logs");
  });
});

describe("a server that does not know us", () => {
  const answers = (...statuses: number[]) => {
    const asked = vi.fn((_path: string) => Promise.resolve(new Response('{"services": [], "elapsed_ms": 1}', { status: statuses.shift() ?? 500 })));
    vi.stubGlobal("fetch", asked);
    return asked;
  };
  afterEach(() => { vi.unstubAllGlobals(); logged_in(); });

  it("is asked again once somebody has logged in", async () => {
    const asked = answers(401, 401, 200);
    const answer = ask("/api/v1/services", {});
    await vi.waitFor(() => expect(session.needed).toBe(true));
    logged_in();
    // The session was not kept: the login is asked for once more, and nothing turns in a circle.
    await vi.waitFor(() => expect(session.needed).toBe(true));
    expect(asked).toHaveBeenCalledTimes(2);
    logged_in();
    expect((await answer).services).toEqual([]);
    expect(session.needed).toBe(false);
  });
  it("is asked no more for what nobody waits for", async () => {
    const asked = answers(401, 200);
    const gone = new AbortController();
    const answer = ask("/api/v1/services", {}, gone.signal);
    await vi.waitFor(() => expect(session.needed).toBe(true));
    gone.abort();
    await expect(answer).rejects.toThrow();
    logged_in();
    expect(asked).toHaveBeenCalledTimes(1);
  });
  it("says that a password is wrong where it was typed", async () => {
    answers(401);
    await expect(post("/api/v1/auth/login", { name: "ada", password: "no" })).rejects.toMatchObject({ status: 401 });
    expect(session.needed).toBe(false);
  });
});

describe("saved views", () => {
  it("keep what is on the page, not how it is refreshed", () => {
    expect(query_of("?query=level%3Aerror&refresh=5&start=now-6h&live=1")).toBe("query=level%3Aerror&start=now-6h");
    expect(query_of("")).toBe("");
  });
  it("lead to their page", () => {
    expect(address_of({ page: "metrics", query: "q=up" })).toBe("/promql?q=up");
    expect(address_of({ page: "logs", query: "" })).toBe("/logs");
  });
});

describe("a budget over time", () => {
  const point = (at: number, left_share: number | null) => ({ at, left_share, sli: null, coverage: 0 });
  it("is drawn from the first known point to the last, with its gaps", () => {
    const points = [point(1, null), point(2, 1), point(3, null), point(4, 0.5), point(5, null)];
    expect(drawn(points).map((each) => each.at)).toEqual([2, 3, 4]);
    expect(drawn([point(1, null)])).toEqual([]);
  });
});

describe("headline", () => {
  it("says what was found in one sentence", () => {
    expect(headline({ summary: "Likely origin: payment" })).toBe("Likely origin: payment");
    expect(headline({ spans_read: 0, logs_read: 0 })).toMatch(/nothing to compare/);
    expect(headline({ spans_read: 5, logs_read: 0, deploys: [] })).toBe("Nothing stands out against the hour before.");
    const deploy = { service: "a", version: "2", previous: "1", at: "1", text: "" };
    const pattern = { service: "a", pattern: "x", severity: 17, before: 0, during: 5, new: true };
    expect(headline({ spans_read: 5, deploys: [deploy], log_patterns: [pattern, pattern] })).toBe("No service stands out, but this changed: 1 deploy and 2 log patterns that grew.");
  });
  it("is calm only when there is nothing at all", () => {
    expect(found_nothing({ origin: null, log_patterns: [] })).toBe(true);
    expect(found_nothing({ origin: { service: "a" } })).toBe(false);
  });
});
