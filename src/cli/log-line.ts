import { pino } from 'pino';

/** What a text line does not repeat as a field. */
const OWN_PLACE = new Set(['level', 'time', 'msg', 'err']);

/**
 * pino's JSON as one line for people: `07:54:01.123 info  blob committed digest=sha256:… sizeBytes=42`.
 * An error is one more field, or, where it has a stack, lines of its own. What is no JSON object is passed on as it is.
 */
export function formatLogLine(json: string): string {
  const entry = parse(json);
  if (entry === undefined) return json;
  const { level, time, msg, err } = entry;
  const label = pino.levels.labels[Number(level)] ?? String(level);
  const clock = typeof time === 'string' ? time.slice(11, 23) : String(time);
  const fields = Object.entries(entry)
    .filter(([name]) => !OWN_PLACE.has(name))
    .map(([name, value]) => ` ${name}=${show(value)}`);
  return `${clock} ${label.padEnd(5)} ${printable(String(msg ?? ''))}${fields.join('')}${showError(err)}\n`;
}

function showError(err: unknown): string {
  if (!isRecord(err)) return err === undefined ? '' : ` err=${show(err)}`;
  if (err.stack === undefined) return ` code=${show(err.code)} err=${show(err.message)}`;
  return `\n    ${String(err.stack).replaceAll('\n', '\n    ')}`;
}

/** Quoted where it would not be one word. */
function show(value: unknown): string {
  return typeof value === 'string' && /^[\w.:/@+*%-]+$/.test(value) ? value : (JSON.stringify(value) ?? String(value));
}

/** Names come from clients and registries: they may not break a line, nor move a terminal's cursor. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, ' ');
}

function parse(json: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
