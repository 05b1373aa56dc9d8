import { findSetting, SETTING_KEYS } from '../../src/config/setting-keys.ts';

/** A value for each type of setting that no setting has of its own accord. */
const BY_TYPE: Readonly<Record<string, unknown>> = {
  text: 'other',
  path: '/srv/other',
  size: '7MiB',
  time: '7s',
  share: '7%',
  number: 77,
  address: '127.0.0.1:7777',
  'host:port': '10.0.0.7:7777',
  'DNS name': 'agents.example.com',
  host: 'ghcr.io',
  URL: 'http://10.0.0.7:3128',
  'port or its name': 5077,
  'namespace/name': 'elsewhere/others',
  'taint key': 'example.com/agent',
  'list of multiaddr': ['/ip4/10.0.0.7/tcp/7052'],
  'list of address': ['127.0.0.1:5077'],
  'list of host:port': ['10.0.0.7:5077'],
  'list of path': ['/srv/other'],
};

/** Where that would not do. */
const BY_KEY: Readonly<Record<string, unknown>> = {
  'peer.listen': '0.0.0.0:7051',
  'status.listen': '0.0.0.0:7053',
  // Beside a secret it means nothing, and is refused.
  'cluster.insecure': false,
  'store.path': '/srv/windlass',
  'containerd.certsDir': '/srv/containerd/certs.d',
  'containerd.configFile': '/srv/other/containerd.toml',
  registries: [
    'ghcr.io',
    {
      host: 'registry.local:5000',
      endpoint: 'https://10.0.0.2:5000',
      ca: '/srv/ca.pem',
      clientCert: '/srv/cert.pem',
      clientKey: '/srv/key.pem',
      credentials: { username: 'a', passwordFile: '/srv/password' },
    },
    { host: 'quay.io', credentials: { dockerConfig: '/srv/config.json' } },
  ],
};

/** A value of a setting other than its default; the same each time. */
function otherValue(key: string): unknown {
  if (Object.hasOwn(BY_KEY, key)) return BY_KEY[key];
  const setting = findSetting(key);
  if (setting === undefined) throw new Error(`there is no setting ${key}`);
  const { form, shownDefault } = setting;
  if (form.decode === 'boolean') return shownDefault !== 'true';
  if (Object.hasOwn(BY_TYPE, form.name)) return BY_TYPE[form.name];
  const choices = form.name.split(', ');
  if (choices.length < 2) throw new Error(`${key}: say in chart-values.ts what another ${form.name} is`);
  return choices.findLast((choice) => choice !== shownDefault);
}

/** A map of settings, nested as in a file. */
function settingsFile(values: ReadonlyMap<string, unknown>): object {
  const file: Record<string, unknown> = {};
  for (const [key, value] of values) {
    let at: Record<string, unknown> = file;
    const path = key.split('.');
    for (const name of path.slice(0, -1)) {
      at[name] ??= {};
      at = at[name] as Record<string, unknown>;
    }
    at[path.at(-1) ?? ''] = value;
  }
  return file;
}

/** Every setting but the one that each agent has of its own, with another value than its default. */
export function allOtherSettings(): object {
  const keys = SETTING_KEYS.map(({ key }) => key).filter((key) => key !== 'node.name');
  return settingsFile(new Map(keys.map((key) => [key, otherValue(key)])));
}

/** Every value of the chart, those that switch on what others are for excepted, with another value than its default. */
export function allOtherValues(): object {
  return { ...OTHER_VALUES, config: allOtherSettings() };
}

export const OTHER_VALUES = {
  nameOverride: 'winch',
  fullnameOverride: 'the-winch',
  namespaceOverride: 'elsewhere',
  commonLabels: { team: 'images' },
  image: { repository: 'registry.local/windlass', tag: 'v2', digest: `sha256:${'0'.repeat(64)}`, pullPolicy: 'Always' },
  imagePullSecrets: [{ name: 'pull' }],
  bypass: true,
  configure: {
    enabled: true,
    runtimes: ['containerd', 'cri-o', 'podman'],
    hostPath: '/srv',
    installId: 'first',
    securityContext: { capabilities: { add: ['CHOWN'] } },
    resources: { requests: { cpu: '20m' } },
  },
  cleanup: { timeout: '90s', tolerateUnreachable: false },
  containerdContent: { enabled: true },
  clusterSecret: { existingSecret: 'mine', keys: ['new', 'old'] },
  hostNetwork: false,
  ipFamilies: ['IPv4', 'IPv6'],
  service: { annotations: { i: 'j' } },
  serviceAccount: { create: true, name: 'agents', annotations: { a: 'b' } },
  rbac: { create: true },
  startupTaint: { enabled: true, key: 'example.com/agent' },
  updateStrategy: { type: 'OnDelete', rollingUpdate: null },
  minReadySeconds: 5,
  revisionHistoryLimit: 3,
  priorityClassName: 'system-cluster-critical',
  resourceQuota: { enabled: true, pods: 100 },
  tolerations: [{ key: 'a', operator: 'Exists', effect: 'NoSchedule' }],
  nodeSelector: { 'kubernetes.io/arch': 'amd64' },
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'DoesNotExist' }] }],
      },
    },
  },
  hooks: { tolerations: [{ key: 'b', operator: 'Exists' }], nodeSelector: { c: 'd' } },
  daemonsetAnnotations: { c: 'd' },
  podAnnotations: { e: 'f' },
  podLabels: { g: 'h' },
  podSecurityContext: { supplementalGroups: [7] },
  seLinuxOptions: { type: 'spc_t' },
  securityContext: { runAsUser: 7, runAsGroup: 7 },
  resources: { limits: { memory: '1Gi' } },
  terminationGracePeriodSeconds: 90,
  livenessProbe: { enabled: false },
  extraInitContainers: [{ name: 'first', image: 'a' }],
  extraEnv: [{ name: 'HTTPS_PROXY', value: 'http://10.0.0.7:3128' }],
  extraVolumes: [{ name: 'ca', configMap: { name: 'ca' } }],
  extraVolumeMounts: [{ name: 'ca', mountPath: '/srv/ca' }],
  networkPolicy: { enabled: true, statusFrom: [{ namespaceSelector: { matchLabels: { a: 'b' } } }] },
  serviceMonitor: monitor('15s'),
  podMonitor: monitor('30s'),
  prometheusRule: { enabled: true, labels: { release: 'prometheus' } },
  grafanaDashboard: { enabled: true, labels: { dashboard: 'yes' }, annotations: { folder: 'Images' } },
};

function monitor(interval: string) {
  return {
    enabled: true,
    interval,
    scrapeTimeout: '10s',
    labels: { release: 'prometheus' },
    relabelings: [{ action: 'labeldrop', regex: 'pod' }],
    metricRelabelings: [{ action: 'drop', sourceLabels: ['__name__'], regex: 'nodejs_.*' }],
  };
}
