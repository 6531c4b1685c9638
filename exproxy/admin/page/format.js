// Numbers, sizes, durations and times as people read them.

const THOUSANDS = ["", "k", "M", "G", "T", "P"];

// 9,999 in full; 12.3k, 4.56M above.
export function count(number) {
  if (number === null || number === undefined) return "–";
  if (Math.abs(number) < 10000) return Number.isInteger(number) || Math.abs(number) >= 1000 ? String(Math.round(number)) : number.toFixed(1);
  return scaled(number, 1000);
}

export function rate(number) {
  if (number === null || number === undefined) return "–";
  return number >= 100 || number === 0 ? count(Math.round(number)) : number.toFixed(1);
}

export function bytes(number) {
  if (number === null || number === undefined) return "–";
  return number < 1000 ? `${Math.round(number)} B` : `${scaled(number, 1000, " ")}B`;
}

function scaled(number, base, space = "") {
  let step = 0;
  while (Math.abs(number) >= base && step < THOUSANDS.length - 1) {
    number /= base;
    step += 1;
  }
  return `${number.toPrecision(3)}${space}${THOUSANDS[step]}`;
}

export function milliseconds(number) {
  if (number === null || number === undefined) return "–";
  if (number >= 10000) return `${(number / 1000).toFixed(0)} s`;
  if (number >= 1000) return `${(number / 1000).toFixed(1)} s`;
  return `${number < 10 ? Number(number.toFixed(1)) : Math.round(number)} ms`;
}

const UNITS = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];

// The two largest units: 3d 4h, 5m 12s, 12s.
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  let left = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [unit, size] of UNITS) {
    const much = Math.floor(left / size);
    left -= much * size;
    if (much) parts.push(`${much}${unit}`);
    else if (parts.length) break;
  }
  return parts.slice(0, 2).join(" ") || "0s";
}

// The largest unit alone.
export function roughly(seconds) {
  return duration(seconds).split(" ")[0];
}

export function percent(part) {
  return `${Math.round(part * 100)}%`;
}

// POSIX seconds of an RFC 3339 time.
export function posix(text) {
  return Date.parse(text) / 1000;
}

// Today's times without the date.
export function clock(text) {
  const moment = new Date(text);
  const time = moment.toLocaleTimeString("en-GB");
  return moment.toDateString() === new Date().toDateString() ? time : `${day(text)} ${time}`;
}

// 2026-11-25, here.
export function day(text) {
  const moment = new Date(text);
  const two = (number) => String(number).padStart(2, "0");
  return `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
}

export function plural(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}
