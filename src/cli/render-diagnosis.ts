import type { Paint, Terminal } from '../demo/terminal.ts';
import { CHECK_NAMES, type CheckName, type CheckResult, type Finding } from '../doctor/finding.ts';

const MAX_WIDTH = 100;
const INDENT = 11;

/** What `windlass doctor` prints, without a newline at its end: a line for each check, then each finding at length. */
export function renderDiagnosis(node: string, checks: readonly CheckResult[], terminal: Terminal): string {
  const width = Math.min(terminal.columns - 1, MAX_WIDTH);
  const found = checks.flatMap(({ check, findings }) => findings.map((finding) => ({ check, finding })));
  const longest = Math.max(...CHECK_NAMES.map((name) => name.length));
  return [
    terminal.paint('bold', printable(`windlass doctor: ${node}`)),
    '',
    ...checks.map((check) => checkLine(check, longest, terminal, width)),
    ...found.flatMap(({ check, finding }, index) => ['', ...findingLines(check, finding, index + 1, terminal, width)]),
    '',
    ...summary(checks, terminal, width),
  ].join('\n');
}

function checkLine(check: CheckResult, longest: number, terminal: Terminal, width: number): string {
  const { marks, paint } = terminal;
  const [how, mark] = markOf(check, terminal);
  const widest = Math.max(marks.yes.length, marks.no.length);
  const indent = longest + widest + 5;
  const seen = wrap(check.seen, width - indent).join(`\n${' '.repeat(indent)}`);
  return `  ${paint(how, mark.padEnd(widest))} ${check.check.padEnd(longest)}  ${check.skipped ? paint('dim', seen) : seen}`;
}

function markOf({ skipped, findings }: CheckResult, { marks }: Terminal): [how: Paint, mark: string] {
  if (skipped) return ['dim', '-'];
  if (findings.length === 0) return ['green', marks.yes];
  return findings.some(({ severity }) => severity === 'error') ? ['red', marks.no] : ['yellow', '!'];
}

function findingLines(
  check: CheckName,
  finding: Finding,
  number: number,
  { paint }: Terminal,
  width: number,
): string[] {
  const { severity, what, mend, docs } = finding;
  const block = (name: string, text: string): string[] =>
    wrap(text, width - INDENT).map((line, index) => (index === 0 ? name : '').padEnd(INDENT) + line);
  return [
    paint(severity === 'error' ? 'red' : 'yellow', `${number}. ${severity}: ${check}`),
    ...block('  wrong', what),
    ...block('  mend', mend),
    // A URL is never broken.
    `${'  see'.padEnd(INDENT)}${docs}`,
  ];
}

function summary(checks: readonly CheckResult[], { paint }: Terminal, width: number): string[] {
  const severities = checks.flatMap(({ findings }) => findings.map(({ severity }) => severity));
  const count = (severity: Finding['severity']) => severities.filter((one) => one === severity).length;
  const [errors, warnings] = [count('error'), count('warning')];
  const isPulled = checks.some(({ check, skipped }) => check === 'pull' && !skipped);
  const lines = (how: Paint, text: string) => wrap(text, width).map((line) => paint(how, line));
  if (errors === 0 && warnings === 0) {
    return lines('green', isPulled ? 'Nothing is wrong: pulls go through the mirror.' : 'Nothing wrong was found.');
  }
  const parts = [
    ...(errors === 0 ? [] : [`${errors} ${errors === 1 ? 'error' : 'errors'}`]),
    ...(warnings === 0 ? [] : [`${warnings} ${warnings === 1 ? 'warning' : 'warnings'}`]),
  ];
  const text = `${parts.join(' and ')}.`;
  if (errors > 0) return lines('red', `${text} Mend the first error first: others may come of it.`);
  return lines('yellow', isPulled ? `${text} Pulls go through the mirror all the same.` : text);
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of printable(text).split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

/** Names and messages come from files and other machines: none may move the cursor. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, ' ');
}
