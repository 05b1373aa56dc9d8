import type { Terminal } from '../demo/terminal.ts';
import { CHECK_NAMES, type CheckResult, type Finding } from '../doctor/finding.ts';

const MAX_WIDTH = 100;
const INDENT = 11;

/** What `windlass doctor` prints, without a newline at its end: a line for each check, then each finding at length. */
export function renderDiagnosis(node: string, checks: readonly CheckResult[], terminal: Terminal): string {
  const width = Math.min(terminal.columns - 1, MAX_WIDTH);
  const findings = checks.flatMap((check) => check.findings);
  const longest = Math.max(...CHECK_NAMES.map((name) => name.length));
  return [
    terminal.paint('bold', printable(`windlass doctor: ${node}`)),
    '',
    ...checks.map((check) => checkLine(check, longest, terminal, width)),
    ...findings.flatMap((finding, index) => ['', ...findingLines(finding, index + 1, terminal, width)]),
    '',
    summary(findings, checks, terminal),
  ].join('\n');
}

function checkLine(check: CheckResult, longest: number, { marks, paint }: Terminal, width: number): string {
  const { severity } = worst(check.findings) ?? {};
  const mark = check.skipped
    ? paint('dim', '-')
    : severity === undefined
      ? paint('green', marks.yes)
      : severity === 'warning'
        ? paint('yellow', '!')
        : paint('red', marks.no);
  const widest = Math.max(marks.yes.length, marks.no.length);
  const plain = check.skipped
    ? 1
    : severity === 'warning'
      ? 1
      : severity === undefined
        ? marks.yes.length
        : marks.no.length;
  const [first = '', ...rest] = wrap(check.seen, width - longest - widest - 5);
  const seen = [first, ...rest.map((line) => ' '.repeat(longest + widest + 5) + line)].join('\n');
  return `  ${mark}${' '.repeat(widest - plain)} ${check.check.padEnd(longest)}  ${check.skipped ? paint('dim', seen) : seen}`;
}

function findingLines(finding: Finding, number: number, { paint }: Terminal, width: number): string[] {
  const { severity, what, mend, docs } = finding;
  const colour = severity === 'error' ? 'red' : 'yellow';
  const block = (name: string, text: string): string[] =>
    wrap(text, width - INDENT).map((line, index) => (index === 0 ? name : '').padEnd(INDENT) + line);
  return [
    paint(colour, `${number}. ${severity}`),
    ...block('  wrong', what),
    ...block('  mend', mend),
    // A URL is never broken.
    `${'  see'.padEnd(INDENT)}${docs}`,
  ];
}

function summary(findings: readonly Finding[], checks: readonly CheckResult[], { paint }: Terminal): string {
  const count = (severity: Finding['severity']) => findings.filter((finding) => finding.severity === severity).length;
  const [errors, warnings] = [count('error'), count('warning')];
  const isPulled = checks.some(({ check, skipped }) => check === 'pull' && !skipped);
  if (errors === 0 && warnings === 0) {
    return paint('green', isPulled ? 'Nothing is wrong: pulls go through the mirror.' : 'Nothing wrong was found.');
  }
  const parts = [
    ...(errors === 0 ? [] : [`${errors} ${errors === 1 ? 'error' : 'errors'}`]),
    ...(warnings === 0 ? [] : [`${warnings} ${warnings === 1 ? 'warning' : 'warnings'}`]),
  ];
  const text = `${parts.join(' and ')}.`;
  if (errors > 0) return `${paint('red', text)} Mend the first error first: others may come of it.`;
  return isPulled ? `${paint('yellow', text)} Pulls go through the mirror all the same.` : paint('yellow', text);
}

function worst(findings: readonly Finding[]): Finding | undefined {
  return findings.find(({ severity }) => severity === 'error') ?? findings[0];
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
