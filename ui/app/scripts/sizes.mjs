// Writes a Brotli twin beside every text asset and holds the size of the first load to its budget.
import { readFileSync, readdirSync, utimesSync, writeFileSync } from "node:fs";
import { extname, join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";

const FIRST_LOAD_MAX = 250_000;
const dist = new URL("../../dist/", import.meta.url).pathname;
const compressible = new Set([".js", ".css", ".svg", ".html"]);

const files = readdirSync(dist, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
  .filter((path) => compressible.has(extname(path)));
const index = readFileSync(join(dist, "index.html"), "utf8");
let first = 0;
let total = 0;
for (const path of files) {
  const bytes = readFileSync(path);
  writeFileSync(`${path}.br`, brotliCompressSync(bytes));
  if (extname(path) !== ".js") continue;
  const gzip = gzipSync(bytes, { level: 9 }).length;
  const isFirst = index.includes(path.slice(dist.length));
  total += gzip;
  if (isFirst) first += gzip;
  console.log(`${isFirst ? "first" : "later"} ${(gzip / 1000).toFixed(1).padStart(7)} kB gz  ${path.slice(dist.length)}`);
}
console.log(`first load ${(first / 1000).toFixed(1)} kB of at most ${FIRST_LOAD_MAX / 1000} kB, all scripts ${(total / 1000).toFixed(1)} kB (gzip)`);
if (first > FIRST_LOAD_MAX) {
  console.error("the first load is above its budget: load what is rare with import()");
  process.exit(1);
}
// Cargo looks at this file, not at a folder that may not be there: see build.rs.
utimesSync(new URL("../../build.rs", import.meta.url), new Date(), new Date());
