import { readFile } from 'node:fs/promises';
import { parseAllDocuments } from 'yaml';

const TEMPLATE = new URL('../../charts/windlass/templates/startup-taint-policy.yaml', import.meta.url);

export interface PolicyValues {
  readonly clusterName: string;
  readonly serviceAccountName: string;
  readonly namespace: string;
  readonly key: string;
}

interface PolicyObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
}

/**
 * The chart's objects for the startup taint, as Helm makes them with all of it enabled: RBAC, policy and binding. Its
 * template holds no more than names and values, so that no Helm is needed.
 */
export async function startupTaintPolicy(values: PolicyValues): Promise<readonly PolicyObject[]> {
  const text = (await readFile(TEMPLATE, 'utf8'))
    .replaceAll('{{ include "windlass.clusterName" . }}', values.clusterName)
    .replaceAll('{{ include "windlass.serviceAccountName" . }}', values.serviceAccountName)
    .replaceAll('{{ include "windlass.namespace" . }}', values.namespace)
    .replaceAll('{{ .Values.startupTaint.key }}', values.key)
    .replaceAll(/^ *\{\{- include "windlass\.labels" \. \| nindent 4 \}\}$/gm, '    app.kubernetes.io/name: windlass')
    .replaceAll(/^\{\{- (?:if \.Values\.[A-Za-z.]+|end) \}\}$/gm, '');
  if (text.includes('{{')) throw new Error(`the template of the policy holds more than is known here: ${text}`);
  return parseAllDocuments(text).map((document) => document.toJS() as PolicyObject);
}
