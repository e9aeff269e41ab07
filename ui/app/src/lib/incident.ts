import { ago, millis } from "./format";
import { type ServiceMap, connected } from "./graph";
import type { Evidence, Incident } from "./types";

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

/** The deploy that an incident likely comes from. */
const deploy_of_origin = ({ deploys, origin }: Evidence) => deploys?.find((each) => each.service === origin?.service && each.version === origin?.version);

/** What the server says counts minutes before an onset that it does not name: the time of day says it by itself. */
export function dated(text: string, evidence: Evidence, clock: (time: number) => string): string {
  const at = (words: string, time: string) => words.replace(/(deployed|rolled back)(?: to)? \d+ minutes? (?:before|after|into the range)/, (_, what: string) => `${what} ${clock(millis(time))}`);
  const origin = deploy_of_origin(evidence);
  // A reason does not say what was deployed.
  if (/^deployed \d+ minutes?/.test(text)) return origin ? at(text, origin.at) : text;
  return (evidence.deploys ?? []).reduce((all, deploy) => all.replace(deploy.text, () => at(deploy.text, deploy.at)), text);
}

/** What it is, in a sentence, once that is known. */
export const summary_of = ({ evidence }: Incident, clock: (time: number) => string) => (evidence?.summary ? dated(evidence.summary, evidence, clock) : undefined);

/** When it came to be, in order. */
export function times_of(incident: Incident): { what: string; at: number }[] {
  const { evidence } = incident;
  const alerted = millis(incident.opened_at);
  const deploy = evidence ? deploy_of_origin(evidence) : undefined;
  // A version that replaced none may only have begun to send.
  const deployed = deploy?.previous ? millis(deploy.at) : Number.NaN;
  const onset = millis(evidence?.onset);
  const found = [{ what: "deployed", at: deployed }, { what: "began", at: onset }, { what: "alerted", at: alerted }];
  // An alert that came at once need not be told twice.
  return found.filter(({ what, at }) => Number.isFinite(at) && (what !== "began" || alerted - at >= 6e4)).sort((one, other) => one.at - other.at);
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
