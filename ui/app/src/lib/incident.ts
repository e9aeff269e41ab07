import { ago, millis } from "./format";
import { type ServiceMap, connected } from "./graph";
import type { Incident } from "./types";

/** When the first alert of a service began, and the how many-eth service that was. */
export interface Began { place: number; at: number; words: string }

/** The services of an incident in the order in which their alerts began. Those that began together have the same place. */
export function order_of_alerts(incident: Incident): Map<string, Began> {
  const first = new Map<string, number>();
  for (const alert of incident.alerts) {
    const at = millis(alert.onset);
    if (alert.service && Number.isFinite(at)) first.set(alert.service, Math.min(first.get(alert.service) ?? Infinity, at));
  }
  const sorted = [...first].sort((one, other) => one[1] - other[1] || (one[0] < other[0] ? -1 : 1));
  const start = sorted[0]?.[1] ?? 0;
  const found = new Map<string, Began>();
  let place = 0;
  let last = Number.NaN;
  sorted.forEach(([service, at], index) => {
    if (at !== last) place = index + 1;
    last = at;
    found.set(service, { place, at, words: at === start ? "its alert began first" : `its alert began ${ago(start, at)} after the first` });
  });
  return found;
}

/** The services of an incident on the map, with what lies between them. */
export function incident_map(map: ServiceMap, incident: Incident): ServiceMap {
  const began = order_of_alerts(incident);
  const origin = incident.evidence?.origin?.service;
  const names = [...(origin ? [origin] : []), ...began.keys(), ...incident.services];
  const part = connected(map, names);
  return {
    ...part,
    nodes: part.nodes.map((node) => {
      const one = node.kind === "service" ? began.get(node.name) : undefined;
      return { ...node, mark: node.kind === "service" && node.name === origin ? "likely origin" : undefined, badge: one ? { text: String(one.place), label: one.words } : undefined };
    }),
  };
}

const LEAD = 10 * 6e4;
const LONGEST = 3 * 36e5;

/** The time over which an incident is drawn: what it looks like while it lasts, not diluted by the day before. */
export function incident_range(incident: Incident, now: number): { from: number; to: number } {
  const to = incident.closed_at ? millis(incident.closed_at) : now;
  const begun = Math.min(millis(incident.opened_at), ...incident.alerts.map((alert) => millis(alert.onset)).filter(Number.isFinite));
  return { from: Math.max(begun - LEAD, to - LONGEST), to: Math.max(to, begun + 6e4) };
}
