// summary.js REPORT CHECK TEST: counts the tests in vitest's JSON report, names the failed and the skipped ones, and
// ends with the line that .ci/run promises. CHECK and TEST are the exit codes of `npm run check` and `npm test`: no
// failure of theirs may get lost, be it a crash before the report was written or a file that cannot be loaded.
import { readFileSync } from 'node:fs';

const [reportPath = '', checkCode, testCode] = process.argv.slice(2);
const failed = [];
const skipped = [];
let passed = 0;

try {
  const { testResults } = JSON.parse(readFileSync(reportPath, 'utf8'));
  for (const file of testResults) {
    const named = (wanted) => file.assertionResults.filter(({ status }) => status === wanted).map((t) => t.fullName);
    const others = file.assertionResults.filter(({ status }) => status !== 'passed' && status !== 'failed');
    passed += named('passed').length;
    failed.push(...named('failed'));
    if (file.status !== 'failed' || named('failed').length > 0) {
      skipped.push(...others.map((t) => t.fullName));
    } else {
      // It could not be loaded, or set up: what vitest then calls skipped did not run, for no good reason.
      failed.push(...others.map((t) => t.fullName), ...(others.length === 0 ? [`${file.name}: ${file.message}`] : []));
    }
  }
} catch (error) {
  failed.push(`no report of the tests: ${error.message}`);
}
if (passed === 0) failed.push('not one test passed');
if (testCode !== '0' && failed.length === 0) failed.push(`npm test: exit code ${testCode}, an error outside of a test`);
if (checkCode !== '0') failed.push(`npm run check: exit code ${checkCode}`);

for (const name of skipped) console.log(`skipped: ${name}`);
for (const name of failed) console.log(`failed: ${name}`);
console.log(`${passed} passed, ${failed.length} failed${skipped.length > 0 ? `, ${skipped.length} skipped` : ''}`);
process.exitCode = failed.length > 0 ? 1 : 0;
