import { quote, rows } from "./api";
import type { Deploy } from "./deploys";
import { duration, share } from "./format";

/** Requests of one version over a time. */
export interface Measured { requests: number; errors: number; p95: number; seconds: number }
export interface Change {
  name: string;
  before: Measured;
  after: Measured;
  /** The version before, where it still runs after the deploy. */
  still: Measured | undefined;
  verdict: "worse" | "better" | "same";
  words: string;
}
export interface VersionRow { name: string; part: string; n: string; e: string; p95: number | null }

/** Milliseconds before and after a deploy that are compared. */
const WINDOW_MAX = 36e5;
const WINDOW_MIN = 6e4;
/** Standard deviations that chance hardly makes. */
const SURPRISING = 3;

export const window_of = (deploy: Deploy, now: number) => Math.min(WINDOW_MAX, Math.max(WINDOW_MIN, now - deploy.at));

/** All operations together (`""`) and each of them, the worst first. */
export async function version_changes(deploy: Deploy, now: number, signal?: AbortSignal): Promise<Change[]> {
  const size = window_of(deploy, now);
  const time = (at: number) => `'${new Date(at).toISOString()}'`;
  const version = "resource['service.version']";
  const part = `CASE WHEN ${version} = ${quote(deploy.version)} THEN 'after' WHEN time < ${time(deploy.at)} THEN 'before' ELSE 'still' END`;
  const from = `FROM spans WHERE kind IN (2, 5) AND service_name = ${quote(deploy.service)} AND time >= ${time(deploy.at - size)} AND time < ${time(deploy.at + size)}
    AND ${version} IN (${quote(deploy.version)}, ${quote(deploy.previous)})`;
  const measured = "count(*) AS n, count(*) FILTER (WHERE status_code = 2) AS e, approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY duration) AS p95";
  const [all, each] = await Promise.all([
    rows<VersionRow>(`SELECT '' AS name, ${part} AS part, ${measured} ${from} GROUP BY 2`, signal),
    rows<VersionRow>(`SELECT name, ${part} AS part, ${measured} ${from} GROUP BY 1, 2 ORDER BY n DESC LIMIT 300`, signal),
  ]);
  const seconds = { before: size / 1e3, after: Math.min(size, now - deploy.at) / 1e3 };
  const named = changes(each, seconds).filter((change) => change.name !== "");
  return [...changes(all, seconds), ...named];
}

export function changes(answer: VersionRow[], seconds: { before: number; after: number }): Change[] {
  const nothing = (of: number): Measured => ({ requests: 0, errors: 0, p95: Number.NaN, seconds: of });
  const found = new Map<string, Change>();
  for (const row of answer) {
    let change = found.get(row.name);
    if (!change) found.set(row.name, (change = { name: row.name, before: nothing(seconds.before), after: nothing(seconds.after), still: undefined, verdict: "same", words: "" }));
    const measured = { requests: Number(row.n), errors: Number(row.e), p95: row.p95 ?? Number.NaN, seconds: row.part === "before" ? seconds.before : seconds.after };
    if (row.part === "before") change.before = measured;
    else if (row.part === "after") change.after = measured;
    else change.still = measured;
  }
  const list = [...found.values()];
  for (const change of list) judge_change(change);
  const badness = (change: Change) => (change.verdict === "worse" ? 2 : change.verdict === "better" ? 1 : 0);
  return list.sort((one, other) => badness(other) - badness(one) || other.before.requests + other.after.requests - one.before.requests - one.after.requests || (one.name < other.name ? -1 : 1));
}

export const failed_share = (one: { requests: number; errors: number }) => (one.requests > 0 ? one.errors / one.requests : Number.NaN);

/** Says what changed beyond chance: the share that failed by a test of two proportions, the percentile by half and 5 ms. */
export function judge_change(change: Change) {
  const { before, after } = change;
  if (before.requests === 0 || after.requests === 0) {
    change.words = before.requests === 0 ? "not asked before" : "not asked after";
    return;
  }
  const words: string[] = [];
  let score = 0;
  const [share_before, share_after] = [failed_share(before), failed_share(after)];
  const pooled = (before.errors + after.errors) / (before.requests + after.requests);
  const deviation = Math.sqrt(pooled * (1 - pooled) * (1 / before.requests + 1 / after.requests));
  if (deviation > 0 && Math.abs(share_after - share_before) > SURPRISING * deviation && Math.abs(share_after - share_before) > 0.002) {
    score += share_after > share_before ? 2 : -1;
    words.push(`${share(share_after)} fail, ${share(share_before)} before`);
  }
  const few = Math.min(before.requests, after.requests) < 20;
  if (!few && Math.abs(after.p95 - before.p95) > 5e6 && (after.p95 > before.p95 * 1.5 || before.p95 > after.p95 * 1.5)) {
    score += after.p95 > before.p95 ? 2 : -1;
    words.push(`p95 ${duration(after.p95)}, ${duration(before.p95)} before`);
  }
  change.verdict = score > 0 ? "worse" : score < 0 ? "better" : "same";
  change.words = words.join("; ");
}
