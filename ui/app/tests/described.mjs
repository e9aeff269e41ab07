// Holds what the server answers to what it says of itself.
import { readFileSync } from "node:fs";

import Ajv from "ajv/dist/2020.js";

const OURS = /^\/(api\/v1|prometheus\/api\/v1|alertmanager\/api\/v2)\//;

/** Reads the description, from a file where the server is older than it; `check` says what is wrong with an answer, and `seen` has the operations that were asked. */
export async function described(api, file = undefined) {
  const answer = file ? undefined : await fetch(`${api}/api/v1/openapi.json`);
  if (answer && !answer.ok) throw new Error(`the server does not describe itself: ${answer.status}`);
  const description = file ? JSON.parse(readFileSync(file, "utf8")) : await answer.json();
  const ajv = new Ajv({ strict: false, allErrors: false, validateFormats: false });
  ajv.addSchema(description, "api");
  const paths = Object.keys(description.paths).map((path) => ({ path, pattern: new RegExp(`^${path.replace(/[.]/g, "\\.").replace(/\{[^}]+\}/g, "[^/]+")}$`) }));
  // What has no parameter is meant when it could be both.
  paths.sort((one, other) => one.path.split("{").length - other.path.split("{").length);
  const compiled = new Map();
  const seen = new Set();

  function check(method, address, status, type, text) {
    const { pathname } = new URL(address);
    if (!OURS.test(pathname)) return undefined;
    const found = paths.find(({ pattern }) => pattern.test(pathname));
    const operation = found && description.paths[found.path][method.toLowerCase()];
    if (!operation) return `${method} ${pathname} is not described`;
    const name = `${method} ${found.path}`;
    seen.add(name);
    const code = operation.responses[status] ? String(status) : "default";
    if (!type.startsWith("application/json") || !text) return undefined;
    if (!operation.responses[code].content?.["application/json"]) return `${name}: an answer ${status} with a body is not described`;
    const escaped = found.path.replaceAll("~", "~0").replaceAll("/", "~1");
    const reference = `api#/paths/${encodeURIComponent(escaped)}/${method.toLowerCase()}/responses/${code}/content/application~1json/schema`;
    let validate = compiled.get(reference);
    if (!validate) compiled.set(reference, (validate = ajv.compile({ $ref: reference })));
    return validate(JSON.parse(text)) ? undefined : `${name} ${status}: ${ajv.errorsText(validate.errors)} in ${text.slice(0, 300)}`;
  }
  return { check, seen, description };
}
