import { expect, test } from "vitest";

import { endpoint, is_local } from "./otlp";
import type { OtlpListener } from "./types";

const listener = (more: Partial<OtlpListener>): OtlpListener => ({ address: "0.0.0.0:4318", scheme: "http", port: 4318, token: false, client_certificate: false, ...more });

test("exporters are sent where the server listens, under the name of the page", () => {
  const page = { protocol: "https:", hostname: "trivium.example" };
  expect(endpoint(listener({ scheme: "http", port: 14318 }), page)).toBe("http://trivium.example:14318");
  expect(endpoint(listener({ scheme: "https", port: 443 }), { protocol: "http:", hostname: "[::1]" })).toBe("https://[::1]:443");
  expect(endpoint(undefined, page)).toBe("https://trivium.example:4318");
  expect(endpoint(undefined, { protocol: "http:", hostname: "" })).toBe("http://127.0.0.1:4318");
});

test("a listener that other machines do not reach is known by its address", () => {
  expect(["127.0.0.1:4318", "[::1]:4318", "0.0.0.0:4318", "[::]:4318", "192.0.2.127:4318"].map((address) => is_local(listener({ address })))).toEqual([true, true, false, false, false]);
});
