import { quote, rows } from "./api";
import { millis } from "./format";

export interface Deploy { service: string; version: string; previous: string; at: number }

/** Versions that were first seen in the range although the service was there before. */
export async function deploys(from: number, to: number, signal?: AbortSignal, service?: string): Promise<Deploy[]> {
  const since = new Date(from - (to - from)).toISOString();
  const seen = await rows<{ service: string; version: string | null; first: string }>(
    `SELECT service_name AS service, resource['service.version'] AS version, min(time) AS first FROM spans
     WHERE time >= '${since}' AND time < '${new Date(to).toISOString()}'${service ? ` AND service_name = ${quote(service)}` : ""}
     GROUP BY 1, 2 ORDER BY 3`,
    signal,
  );
  const last = new Map<string, string>();
  const found: Deploy[] = [];
  for (const { service: name, version, first } of seen) {
    if (!version) continue;
    const previous = last.get(name);
    last.set(name, version);
    const at = millis(first);
    if (previous && at >= from) found.push({ service: name, version, previous, at });
  }
  return found.reverse();
}
