/** Sizes, rates and times for people: three figures, and the unit that suits them. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** `0 B`, `594 B`, `2.5 KiB`, `72.0 MiB`, `1.2 GiB`. */
export function showSize(sizeBytes: number): string {
  let value = sizeBytes;
  let unit = 0;
  while (value >= 1023.95 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

/** `1.2 MiB/s` */
export function showRate(bytesPerSecond: number): string {
  return `${showSize(bytesPerSecond)}/s`;
}

/** `12 s`, `3 min 12 s`, `5 h 3 min`, `12 d 4 h`: never more than two units. */
export function showTime(ms: number): string {
  const s = Math.floor(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor(s / 3600) % 24} h`;
}

/** `98.2%`; what is not quite all is never 100.0%, nor what is not quite nothing 0.0%. */
export function showShare(share: number): string {
  const percent = share * 100;
  if (percent > 99.9 && percent < 100) return '99.9%';
  if (percent > 0 && percent < 0.1) return '0.1%';
  return `${percent.toFixed(1)}%`;
}
