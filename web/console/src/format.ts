import { locale, text } from "./texts.ts";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

const number = (value: number, digits: number) =>
  new Intl.NumberFormat(locale(), { maximumFractionDigits: digits }).format(value);

/** Returns a count or a rate: whole above 100, with up to two digits below. */
export function quantity(value: number | undefined): string {
  if (value === undefined) return "–";
  return number(value, value >= 100 ? 0 : value >= 10 ? 1 : 2);
}

/** Returns a number of bytes in the unit that fits. */
export function bytes(value: number | undefined): string {
  if (value === undefined) return "–";
  let [left, unit] = [value, 0];
  while (left >= 1_024 && unit < UNITS.length - 1) [left, unit] = [left / 1_024, unit + 1];
  return `${number(left, left >= 100 ? 0 : 1)} ${UNITS[unit]}`;
}

/** Returns a time that is given in seconds: milliseconds below a second. */
export function duration(seconds: number | undefined): string {
  if (seconds === undefined) return "–";
  return seconds < 1 ? `${number(seconds * 1_000, seconds < 0.1 ? 2 : 0)} ms` : `${number(seconds, 2)} s`;
}

/** Returns a part of one processor. */
export function percent(value: number | undefined): string {
  return value === undefined ? "–" : `${number(value, value >= 10 ? 0 : 1)} %`;
}

/** Returns a long time: its two largest units. */
export function span(seconds: number | undefined): string {
  if (seconds === undefined) return "–";
  const whole = Math.floor(seconds);
  const parts: [number, string][] = [
    [Math.floor(whole / 86_400), "d"],
    [Math.floor(whole / 3_600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return "0 s";
  return parts.slice(first, first + 2).map(([count, unit]) => `${count} ${unit}`).join(" ");
}

/** Returns the time of a moment, with its day if that is not today. */
export function moment(at: number | string): string {
  const date = new Date(at);
  const isToday = date.toDateString() === new Date().toDateString();
  const options: Intl.DateTimeFormatOptions = isToday ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" };
  return new Intl.DateTimeFormat(locale(), options).format(date);
}

/** Returns the kind of a device. */
export function deviceKind(kind: number): string {
  const names = ["", "Android", "iOS", "Windows", "macOS", "Web"];
  return names[kind] || `${text("kind")} ${kind}`;
}
