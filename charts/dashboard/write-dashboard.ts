import { writeFile } from 'node:fs/promises';
import { renderDashboard } from './dashboard.ts';

await writeFile(new URL('../windlass/dashboards/windlass.json', import.meta.url), renderDashboard());
