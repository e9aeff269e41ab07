import { ApiError, ask } from "./api";
import type { Alert, Incident, ManagedAlert, Rule, RuleGroup, Slo } from "./types";

export interface Active { rule: Rule; group: RuleGroup; alert: Alert; silenced: boolean; managed: ManagedAlert | undefined }

const optional = async <T>(promise: Promise<T>, otherwise: T): Promise<T> => {
  try {
    return await promise;
  } catch (error) {
    // A server without rules has no such paths.
    if (error instanceof ApiError && error.status === 404) return otherwise;
    throw error;
  }
};

export async function rule_groups(signal?: AbortSignal): Promise<RuleGroup[]> {
  const answer = await optional(ask("/api/v1/rules", {}, signal), { status: "success" as const, data: { groups: [] } });
  return answer.data.groups;
}

export async function slos(signal?: AbortSignal): Promise<Slo[]> {
  return (await optional(ask("/api/v1/slos", {}, signal), { slos: [], warnings: [] })).slos;
}

export async function managed_alerts(signal?: AbortSignal): Promise<ManagedAlert[]> {
  return optional(ask("/alertmanager/api/v2/alerts", {}, signal), []);
}

/** The alerts that belong to none of these incidents. */
export const outside = (active: Active[], among: Incident[]) =>
  active.filter((each) => !among.some((incident) => incident.closed_at === null && incident.alerts.some((alert) => alert.labels && same(alert.labels, each.alert.labels))));

/** Whether two alerts are one. */
export const same = (one: Record<string, string>, other: Record<string, string>) =>
  Object.keys(one).length === Object.keys(other).length && Object.entries(one).every(([name, value]) => other[name] === value);

/** Everything that is pending or firing, with what the notifier knows of it; the firing and loud first. */
export async function active_alerts(signal?: AbortSignal): Promise<Active[]> {
  const [groups, managed] = await Promise.all([rule_groups(signal), managed_alerts(signal).catch(() => [])]);
  const found: Active[] = [];
  for (const group of groups) {
    for (const rule of group.rules) {
      for (const alert of rule.alerts ?? []) {
        const known = managed.find((each) => same(each.labels, alert.labels));
        found.push({ rule, group, alert, managed: known, silenced: (known?.status.silencedBy.length ?? 0) > 0 });
      }
    }
  }
  // What nobody looks after yet comes before what somebody does.
  const rank = (each: Active) => (each.silenced ? 8 : 0) + (each.alert.state === "firing" ? 0 : 4) + (each.managed?.acknowledgement ? 2 : 0) + (each.alert.labels.severity === "page" ? 0 : 1);
  return found.sort((one, other) => rank(one) - rank(other) || Date.parse(other.alert.activeAt) - Date.parse(one.alert.activeAt));
}

export const service_of = (labels: Record<string, string>) => labels.service ?? labels.service_name ?? labels["service.name"] ?? labels.job?.replace(/^.*\//, "") ?? "";

export async function incidents(signal?: AbortSignal): Promise<Incident[]> {
  const answer = await optional(ask("/api/v1/incidents", {}, signal), { incidents: [] });
  return answer.incidents;
}

const COMPARISON = /\s*(>=|<=|>|<|==|!=)\s*(?:bool\s+)?(-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)\s*$/i;

/** An expression of PromQL without its last comparison, and what it is compared with. */
export function split_threshold(expression: string): { expression: string; threshold: number | null; operator: string } {
  const match = COMPARISON.exec(expression);
  if (!match) return { expression, threshold: null, operator: "" };
  return { expression: expression.slice(0, match.index).trim(), threshold: Number(match[2]), operator: match[1] ?? "" };
}
