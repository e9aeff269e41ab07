// Makes src/lib/api.gen.ts from the server's description of its API; with --check only says whether it is fresh.
import { readFileSync, writeFileSync } from "node:fs";

import openapi, { astToString } from "openapi-typescript";

const description = new URL("../../../query/src/api/openapi.json", import.meta.url);
const target = new URL("../src/lib/api.gen.ts", import.meta.url);
const HEAD = "// Made by `npm run api` from query/src/api/openapi.json, which the server serves as /api/v1/openapi.json.\n\n";

const made = HEAD + astToString(await openapi(description, { alphabetize: true }));
const found = (() => {
  try {
    return readFileSync(target, "utf8");
  } catch {
    return "";
  }
})();
if (process.argv.includes("--check")) {
  if (found !== made) {
    console.error("src/lib/api.gen.ts is not what query/src/api/openapi.json says: run `npm run api`");
    process.exit(1);
  }
} else if (found !== made) {
  writeFileSync(target, made);
}
