import { z } from 'zod';
import { requirementSchema } from './label-selector.ts';

const termSchema = z.object({
  matchExpressions: z.array(requirementSchema).nullish(),
  matchFields: z.array(requirementSchema).nullish(),
});

/** What a Pod says of the nodes that it may run on; what it merely prefers is left out. */
export const nodeRulesSchema = z.object({
  nodeSelector: z.record(z.string(), z.string()).nullish(),
  affinity: z
    .object({
      nodeAffinity: z
        .object({
          requiredDuringSchedulingIgnoredDuringExecution: z
            .object({ nodeSelectorTerms: z.array(termSchema) })
            .nullish(),
        })
        .nullish(),
    })
    .nullish(),
});

export type NodeRules = z.output<typeof nodeRulesSchema>;

type Requirement = z.output<typeof requirementSchema>;
type Term = z.output<typeof termSchema>;
type Labels = Readonly<Record<string, string>>;

/** By name and labels. Taints are not looked at: what cleans up tolerates them all. */
export function mayRunOn(rules: NodeRules, node: { readonly name: string; readonly labels: Labels }): boolean {
  const isSelected = Object.entries(rules.nodeSelector ?? {}).every(([key, value]) => node.labels[key] === value);
  const terms = termsOf(rules);
  return isSelected && (terms === undefined || terms.some((term) => fits(term, node)));
}

/** The node that the controller of a DaemonSet made a Pod for, as it says to the scheduler. */
export function targetOf(rules: NodeRules): string | undefined {
  return termsOf(rules)
    ?.flatMap(({ matchFields }) => matchFields ?? [])
    .find(({ key, operator }) => key === 'metadata.name' && operator === 'In')?.values?.[0];
}

function termsOf({ affinity }: NodeRules): readonly Term[] | undefined {
  return affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
}

function fits({ matchExpressions, matchFields }: Term, { name, labels }: { name: string; labels: Labels }): boolean {
  const [expressions, fields] = [matchExpressions ?? [], matchFields ?? []];
  // An empty term is no node's.
  if (expressions.length + fields.length === 0) return false;
  const field: Labels = { 'metadata.name': name };
  return expressions.every((one) => holds(one, labels[one.key])) && fields.every((one) => holds(one, field[one.key]));
}

function holds({ operator, values }: Requirement, value: string | undefined): boolean {
  const among = value !== undefined && (values ?? []).includes(value);
  switch (operator) {
    case 'In':
      return among;
    case 'NotIn':
      return !among;
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
      return Number(value) > Number(values?.[0]);
    case 'Lt':
      return Number(value) < Number(values?.[0]);
    default:
      return false;
  }
}
