import { REGISTRY_FIELDS, SETTING_KEYS } from '../src/config/setting-keys.ts';
import { SIZE_UNIT_NAMES, TIME_UNIT_NAMES } from '../src/config/units.ts';

type Schema = Readonly<Record<string, unknown>>;

/** What is inside of it is Kubernetes' business: the API server looks at it. */
const OBJECT: Schema = { type: 'object' };
const LIST: Schema = { type: 'array' };
const TEXT: Schema = { type: 'string' };
const TOGGLE: Schema = { type: 'boolean' };
const COUNT: Schema = { type: 'integer', minimum: 0 };
const LABELS: Schema = { type: 'object', additionalProperties: { type: 'string' } };
const PORT_OR_NAME: Schema = { type: ['integer', 'string'] };
const QUANTITY = '^\\d+(\\.\\d+)?';

/** An object with these keys and no others. */
function only(properties: Readonly<Record<string, Schema>>): Schema {
  return { type: 'object', additionalProperties: false, properties };
}

function choice(...values: readonly string[]): Schema {
  return { enum: values };
}

function items(item: Schema, minItems = 0): Schema {
  return { type: 'array', items: item, minItems, uniqueItems: true };
}

function quantity(units: string): Schema {
  const text = { type: 'string', pattern: `^0$|${QUANTITY}(${units.replaceAll(', ', '|')})$` };
  return { anyOf: [text, { const: 0 }] };
}

const monitor = only({
  enabled: TOGGLE,
  interval: TEXT,
  scrapeTimeout: TEXT,
  labels: LABELS,
  relabelings: LIST,
  metricRelabelings: LIST,
});

/** Types of settings by their names in the documentation, where they are not just text. */
const SETTING_TYPES: Readonly<Record<string, Schema>> = {
  size: quantity(SIZE_UNIT_NAMES),
  time: quantity(TIME_UNIT_NAMES),
  share: { anyOf: [{ type: 'string', pattern: `${QUANTITY}%$` }, { const: 0 }] },
  number: { type: 'integer' },
  'true, false': TOGGLE,
  address: { type: 'string', pattern: '^(\\[[0-9a-fA-F:.]+\\]|[a-zA-Z0-9.-]+):\\d{1,5}$' },
  'port or its name': PORT_OR_NAME,
  'host or object': { anyOf: [TEXT, registryEntry()] },
  ...Object.fromEntries(
    ['text', 'path', 'host', 'URL', 'DNS name', 'multiaddr', 'host:port', 'namespace/name', 'taint key'].map((name) => [
      name,
      TEXT,
    ]),
  ),
};

/** Of charts/windlass: what helm refuses before it asks the cluster. Draft 7, as the older ones of Helm 3 need it. */
export function valuesSchema(): Schema {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Values of the chart windlass',
    ...only({
      // Of a chart that this one is a part of.
      global: OBJECT,
      nameOverride: TEXT,
      fullnameOverride: TEXT,
      namespaceOverride: TEXT,
      commonLabels: LABELS,
      image: only({
        repository: { type: 'string', minLength: 1 },
        tag: TEXT,
        digest: { type: 'string', pattern: '^(sha256:[0-9a-f]{64})?$' },
        pullPolicy: choice('Always', 'IfNotPresent', 'Never'),
      }),
      imagePullSecrets: { type: 'array', items: only({ name: TEXT }) },
      config: configSchema(),
      bypass: TOGGLE,
      configure: only({
        enabled: TOGGLE,
        runtimes: items(choice('containerd', 'cri-o', 'podman'), 1),
        hostPath: { type: 'string', pattern: '^(/.*)?$' },
        installId: TEXT,
        securityContext: OBJECT,
        resources: OBJECT,
      }),
      cleanup: only({ timeout: SETTING_TYPES.time ?? TEXT, tolerateUnreachable: TOGGLE }),
      containerdContent: only({ enabled: TOGGLE }),
      clusterSecret: only({ existingSecret: TEXT, keys: items({ type: 'string', pattern: '^[-._a-zA-Z0-9]+$' }, 1) }),
      hostNetwork: TOGGLE,
      ipFamilies: items(choice('IPv4', 'IPv6'), 1),
      service: only({ annotations: LABELS }),
      serviceAccount: only({ create: TOGGLE, name: TEXT, annotations: LABELS }),
      rbac: only({ create: TOGGLE }),
      startupTaint: only({ enabled: TOGGLE, key: { type: 'string', minLength: 1 } }),
      updateStrategy: OBJECT,
      minReadySeconds: COUNT,
      revisionHistoryLimit: COUNT,
      priorityClassName: TEXT,
      resourceQuota: only({ enabled: TOGGLE, pods: COUNT }),
      tolerations: LIST,
      nodeSelector: LABELS,
      affinity: OBJECT,
      hooks: only({ tolerations: LIST, nodeSelector: LABELS }),
      daemonsetAnnotations: LABELS,
      podAnnotations: LABELS,
      podLabels: LABELS,
      podSecurityContext: OBJECT,
      seLinuxOptions: OBJECT,
      securityContext: { type: 'object', required: ['runAsUser', 'runAsGroup'] },
      resources: OBJECT,
      terminationGracePeriodSeconds: { type: ['integer', 'null'], minimum: 0 },
      livenessProbe: only({ enabled: TOGGLE }),
      extraInitContainers: LIST,
      extraEnv: LIST,
      extraVolumes: LIST,
      extraVolumeMounts: LIST,
      networkPolicy: only({ enabled: TOGGLE, statusFrom: LIST }),
      serviceMonitor: monitor,
      podMonitor: monitor,
      prometheusRule: only({ enabled: TOGGLE, labels: LABELS }),
      grafanaDashboard: only({ enabled: TOGGLE, labels: LABELS, annotations: LABELS }),
    }),
  };
}

/** All settings of the agent, by the one table. What a value means in full, the agent checks when it starts. */
function configSchema(): Schema {
  return nested(SETTING_KEYS.map(({ path, form }) => [path, settingSchema(form.name)]));
}

function registryEntry(): Schema {
  const fields = REGISTRY_FIELDS.filter(({ form }) => form.name !== 'object');
  return {
    ...nested(fields.map(({ key }) => [key.replace('registries[].', '').split('.'), TEXT])),
    required: ['host'],
  };
}

function nested(leaves: readonly (readonly [path: readonly string[], schema: Schema])[]): Schema {
  const names = [...new Set(leaves.map(([path]) => path[0] ?? ''))];
  return only(
    Object.fromEntries(
      names.map((name) => {
        const below = leaves.filter(([path]) => path[0] === name);
        const leaf = below.find(([path]) => path.length === 1)?.[1];
        return [name, leaf ?? nested(below.map(([path, schema]) => [path.slice(1), schema]))];
      }),
    ),
  );
}

/** @throws Error for a type that is new: say here what it looks like. */
function settingSchema(name: string): Schema {
  const item = /^list of (.*)$/.exec(name)?.[1];
  if (item !== undefined) {
    const schema = settingSchema(item);
    return { anyOf: [{ type: 'array', items: schema }, schema] };
  }
  const known = SETTING_TYPES[name];
  if (known !== undefined) return known;
  if (name.includes(', ')) return choice(...name.split(', '));
  throw new Error(`values.schema.json: no schema for a setting that is a ${name}`);
}
