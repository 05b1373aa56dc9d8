/** Files for `kubectl apply`, from what the chart renders. */

const NAMESPACE = 'windlass';
const SECRET = 'windlass-cluster';

/** What follows `helm template`; the Secret must be there already, for nothing that is in a repository may hold one. */
export const TEMPLATE_ARGS = [
  'windlass',
  'charts/windlass',
  '--namespace',
  NAMESPACE,
  '--set',
  `clusterSecret.existingSecret=${SECRET}`,
];

/** @param flags that render the same of other values */
const head = (
  flags: string,
) => `# Rendered from charts/windlass with its defaults: npm run manifests. Change it there, or render your own:
#   helm template ${TEMPLATE_ARGS.join(' ')} ${flags}
`;

const NAMESPACE_OBJECT = `---
apiVersion: v1
kind: Namespace
metadata:
  name: ${NAMESPACE}
  labels:
    # The agents use the node's network and folders; no container is privileged.
    pod-security.kubernetes.io/enforce: privileged
`;

const INSTALL = `${head('--no-hooks')}#
# The secret that makes an agent a member is yours to make, before or after this is applied:
#   kubectl create namespace ${NAMESPACE}
#   kubectl -n ${NAMESPACE} create secret generic ${SECRET} --from-literal=secret="$(head -c 32 /dev/urandom | base64)"
`;

const CLEANUP = `${head('--show-only templates/cleanup.yaml')}#
# Puts the files of every node back, while windlass.yaml is still applied, and not later (its account and its settings are
# in there); delete that, and this, once the Job is complete:
#   kubectl -n ${NAMESPACE} wait --for=condition=complete job/windlass-cleanup --timeout=5m
#   kubectl -n ${NAMESPACE} logs job/windlass-cleanup
`;

const HOOK = /^ {4}"?helm\.sh\/hook(?:-[a-z-]+)?"?: .*\n/gm;

/** By name below manifests/. @param rendered what `helm template` writes */
export function manifestsOf(rendered: string): ReadonlyMap<string, string> {
  const documents = rendered.split(/^---\n/m).filter((text) => text.trim() !== '');
  const isHook = (text: string) => /^ {4}helm\.sh\/hook:/m.test(text);
  const isCleanup = (text: string) => /^ {4}helm\.sh\/hook: pre-delete$/m.test(text);
  return new Map([
    ['windlass.yaml', [INSTALL + NAMESPACE_OBJECT, ...documents.filter((text) => !isHook(text))].join('---\n')],
    ['cleanup.yaml', [CLEANUP, ...documents.filter(isCleanup).map(withoutHooks)].join('---\n')],
  ]);
}

/** Nobody but Helm knows what they mean. */
function withoutHooks(text: string): string {
  return text
    .replace(HOOK, '')
    .replace(/^ {4}# Helm 3.*\n/gm, '')
    .replace(/^ {2}annotations:\n(?! {4})/gm, '');
}
