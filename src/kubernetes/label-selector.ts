import { z } from 'zod';

export const requirementSchema = z.object({
  key: z.string(),
  operator: z.string(),
  values: z.array(z.string()).nullish(),
});

export const labelSelectorSchema = z.object({
  matchLabels: z.record(z.string(), z.string()).nullish(),
  matchExpressions: z.array(requirementSchema).nullish(),
});

/** As a query has it: `app=windlass,tier in (a,b),!old`. */
export function labelSelectorText({ matchLabels, matchExpressions }: z.output<typeof labelSelectorSchema>): string {
  const equal = Object.entries(matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  return [...equal, ...(matchExpressions ?? []).map(requirementText)].join();
}

function requirementText({ key, operator, values }: z.output<typeof requirementSchema>): string {
  if (operator === 'Exists') return key;
  if (operator === 'DoesNotExist') return `!${key}`;
  return `${key} ${operator.toLowerCase()} (${(values ?? []).join()})`;
}
