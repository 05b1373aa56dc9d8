/** Sizes, times and shares as people write them. Every parser returns undefined for what it does not know. */

const SIZE_UNITS = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
} as const;
const TIME_UNITS = { ms: 1, s: 1e3, m: 60e3, h: 3600e3, d: 86400e3 } as const;

export const SIZE_UNIT_NAMES = Object.keys(SIZE_UNITS).join(', ');
export const TIME_UNIT_NAMES = Object.keys(TIME_UNITS).join(', ');

const QUANTITY = /^(\d+(?:\.\d+)?)([A-Za-z]+)$/;

/** A number with its unit, or a bare 0: `20GiB` to 21474836480 bytes, rounded down to a whole byte. */
export function parseSize(text: string): number | undefined {
  return parseQuantity(text, SIZE_UNITS);
}

/** A number with its unit, or a bare 0: `1.5m` to 90000 milliseconds, rounded down to a whole one. */
export function parseDuration(text: string): number | undefined {
  return parseQuantity(text, TIME_UNITS);
}

/** `12.5%` to 0.125. */
export function parseShare(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)%$/.exec(text);
  return match ? Number(match[1]) / 100 : undefined;
}

/** What somebody who wrote `20Gi`, `20 gib` or `20g` probably meant; undefined where nothing is near. */
export function suggestSize(text: string): string | undefined {
  return suggest(text, SIZE_UNITS, (unit) => (/^[kmgt]i?$/.test(unit) ? `${unit[0]?.toUpperCase()}iB` : unit));
}

/** What somebody who wrote `30 sec` or `5min` probably meant. */
export function suggestDuration(text: string): string | undefined {
  return suggest(text, TIME_UNITS, (unit) =>
    unit.startsWith('mil') || unit.startsWith('ms') ? 'ms' : unit.slice(0, 1),
  );
}

function parseQuantity(text: string, units: Readonly<Record<string, number>>): number | undefined {
  if (text === '0') return 0;
  const match = QUANTITY.exec(text);
  const unit = match?.[2] ?? '';
  const factor = Object.hasOwn(units, unit) ? units[unit] : undefined;
  if (match === null || factor === undefined) return undefined;
  const value = Math.floor(Number(match[1]) * factor);
  return Number.isSafeInteger(value) ? value : undefined;
}

function suggest(
  text: string,
  units: Readonly<Record<string, number>>,
  normal: (lowerCaseUnit: string) => string,
): string | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*$/.exec(text);
  if (match === null) return undefined;
  const wanted = normal((match[2] ?? '').toLowerCase()).toLowerCase();
  const unit = Object.keys(units).find((name) => name.toLowerCase() === wanted);
  return unit === undefined ? undefined : `${match[1]}${unit}`;
}
