import { expect, test } from "vitest";

import { generated, joined, matches, state_of, told } from "./access";
import type { AuditLine, Token } from "./types";

const line = (more: Partial<AuditLine>): AuditLine => ({ sequence: 1, at: 0, action: "request", actor: "ada", target: "", outcome: "ok", previous: "", hash: "", ...more });

test("a password is drawn evenly from letters that cannot be mixed up", () => {
  // Bytes that would favour the first letters are left out, however many come.
  let asked = 0;
  const password = generated((bytes) => { asked += 1; bytes.fill(asked < 3 ? 255 : 7); return bytes; });
  expect(password).toBe("hhhhh-hhhhh-hhhhh-hhhhh");
  expect(asked).toBe(3);
  expect(generated()).toMatch(/^([a-km-zA-HJ-NP-Z2-9]{5}-){3}[a-km-zA-HJ-NP-Z2-9]{5}$/);
  expect(generated()).not.toBe(generated());
});

test("a token says when it ends before it does", () => {
  const now = 1_800_000_000_000;
  const token = (more: Partial<Token>) => ({ revoked: null, expires: null, valid: true, ...more }) as Token;
  expect(state_of(token({}), now).label).toBe("valid");
  expect(state_of(token({ expires: (now + 2 * 864e5) * 1e6 }), now)).toEqual({ label: "ends in 2 days", kind: "warn" });
  expect(state_of(token({ expires: (now - 1) * 1e6, valid: false }), now).label).toBe("expired");
  expect(state_of(token({ revoked: now * 1e6, valid: false }), now).label).toBe("revoked");
});

test("the audit log is told in words, and an overlap of its pages once", () => {
  expect(told(line({ target: "POST /api/v1/auth/tokens" }))).toBe("created a token");
  expect(told(line({ target: "POST /api/v1/auth/tokens", outcome: "failed" }))).toBe("tried: created a token");
  expect(told(line({ target: "POST /api/v1/something/new" }))).toBe("changed something");
  expect(told(line({ action: "login", outcome: "denied" }))).toBe("tried to log in");
  expect(joined([line({ sequence: 9 }), line({ sequence: 8 })], [line({ sequence: 8 }), line({ sequence: 7 })]).map((each) => each.sequence)).toEqual([9, 8, 7]);
  const denied = line({ action: "denied", outcome: "denied", detail: "the name or the password is wrong", address: "192.0.2.1" });
  expect([matches(denied, "PASSWORD", ""), matches(denied, "192.0.2", "denied"), matches(denied, "", "ok"), matches(denied, "bob", "")]).toEqual([true, true, false, false]);
});
