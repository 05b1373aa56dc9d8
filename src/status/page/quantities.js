/** Sizes, rates and times for people, as `windlass status` writes them. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/**
 * @param {number} sizeBytes
 * @returns {string} `594 B`, `2.5 KiB`
 */
export function showSize(sizeBytes) {
  let value = sizeBytes;
  let unit = 0;
  while (value >= 1023.95 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

/** @param {number} bytesPerSecond */
export function showRate(bytesPerSecond) {
  return `${showSize(bytesPerSecond)}/s`;
}

/**
 * @param {number} ms
 * @returns {string} `12 s`, `3 min 12 s`, `5 h 3 min`
 */
export function showTime(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor(s / 3600) % 24} h`;
}

/**
 * @param {number} ms
 * @returns {string} `just now`, `12 s ago`, `3 min ago`, `5 h ago`
 */
export function showAgo(ms) {
  if (ms < 2_000) return 'just now';
  const s = Math.floor(ms / 1000);
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ago`;
  return `${Math.floor(s / 86_400)} d ago`;
}

/**
 * Short times to the millisecond.
 * @param {number} ms
 * @returns {string} `< 1 ms`, `12 ms`, `3.4 s`, `2 min 5 s`
 */
export function showSpan(ms) {
  if (ms === 0) return '0 ms';
  if (ms < 1) return '< 1 ms';
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  return showTime(ms);
}

/**
 * @param {number} share
 * @returns {string} `98.2%`; what is not quite all is never `100.0%`
 */
export function showShare(share) {
  const percent = share * 100;
  if (percent > 99.9 && percent < 100) return '99.9%';
  if (percent > 0 && percent < 0.1) return '0.1%';
  return `${percent.toFixed(1)}%`;
}

/**
 * @param {number} number
 * @param {string} noun
 */
export function count(number, noun) {
  return `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : 's'}`;
}
