import { parse_time } from "./parse_time";
import { parameter, update } from "./router.svelte";

export { parse_time };

/** The clock of the page: it moves when something is asked anew, so that all charts of a page agree. */
export const clock = $state({ now: Date.now(), ticks: 0 });

export function tick() {
  clock.now = Date.now();
  clock.ticks += 1;
}

export const range = {
  get start() { return parameter("start", "now-1h"); },
  get end() { return parameter("end", "now"); },
  get from() { return parse_time(this.start, clock.now) ?? clock.now - 36e5; },
  get to() { return Math.max(parse_time(this.end, clock.now) ?? clock.now, this.from + 1); },
  get is_relative() { return this.end.startsWith("now"); },
  get label() {
    const match = /^now-(\d+)(m|h|d|w)$/.exec(this.start);
    if (match && this.end === "now") {
      const words: Record<string, string> = { m: "minute", h: "hour", d: "day", w: "week" };
      const count = Number(match[1]);
      return `Last ${count === 1 ? "" : `${count} `}${words[match[2] ?? "h"]}${count === 1 ? "" : "s"}`;
    }
    return `${moment(this.from)} – ${moment(this.to)}`;
  },
  /** As parameters of our API. */
  get parameters() { return { start: String(Math.floor(this.from / 1e3)), end: String(Math.ceil(this.to / 1e3)) }; },
  /** As a condition in SQL. */
  sql(column = "time") {
    const at = (time: number) => `'${new Date(time).toISOString()}'`;
    return `${column} >= ${at(this.from)} AND ${column} < ${at(this.to)}`;
  },
};

export const iso = (time: number) => new Date(time).toISOString();

export function zoom(from: number, to: number) {
  if (to - from < 1) return;
  update({ start: iso(Math.floor(from)), end: iso(Math.ceil(to)) });
}

export const zone = {
  get is_utc() { return parameter("tz") === "utc"; },
  get options(): Intl.DateTimeFormatOptions { return this.is_utc ? { timeZone: "UTC" } : {}; },
};

const formats = new Map<string, Intl.DateTimeFormat>();

function format(time: number, options: Intl.DateTimeFormatOptions): string {
  if (!Number.isFinite(time)) return "–";
  const all = { hourCycle: "h23", ...options, ...zone.options } as const;
  const key = JSON.stringify(all);
  let made = formats.get(key);
  if (!made) formats.set(key, (made = new Intl.DateTimeFormat("en-GB", all)));
  return made.format(time);
}

const HM = { hour: "2-digit", minute: "2-digit" } as const;
const HMS = { ...HM, second: "2-digit" } as const;

/** With the day when it is not today. */
export function moment(time: number): string {
  const is_near = Math.abs(clock.now - time) < 12 * 36e5;
  return format(time, is_near ? HMS : { day: "2-digit", month: "short", ...HM });
}
/** The same to the minute. */
export const minute = (time: number) => format(time, Math.abs(clock.now - time) < 12 * 36e5 ? HM : { day: "2-digit", month: "short", ...HM });
export const hms = (time: number) => format(time, HMS);
export const hm = (time: number) => format(time, HM);
export const hms_millis = (time: number) => format(time, { ...HMS, fractionalSecondDigits: 3 });
export const full = (time: number) =>
  `${format(time, { year: "numeric", month: "2-digit", day: "2-digit", ...HMS, fractionalSecondDigits: 3 })} ${zone.is_utc ? "UTC" : "local"}`;

/** A label for an axis over so many milliseconds. */
export function axis_time(time: number, span: number): string {
  if (span < 10 * 6e4) return hms(time);
  return span < 36 * 36e5 ? hm(time) : format(time, { day: "2-digit", month: "short", ...HM });
}
