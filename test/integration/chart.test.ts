import { readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { manifestsOf, TEMPLATE_ARGS } from '../../charts/manifests.ts';
import { readSettings } from '../../src/config/load-settings.ts';
import { findSetting } from '../../src/config/setting-keys.ts';
import type { Settings } from '../../src/config/settings.ts';
import { containerdPaths } from '../../src/containerd/presets.ts';
import { allOtherSettings, allOtherValues } from '../support/chart-values.ts';
import { CHART, Helm, objectOf } from '../support/helm.ts';
import { builtHelm } from '../support/helm-binary.ts';
import type { KubeObject } from '../support/kube-objects.ts';
import { describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';

const binary = builtHelm();
const CHART_ROOT = `${CHART}/../..`;
const MANIFESTS = `${CHART_ROOT}/manifests`;

interface Container {
  readonly name: string;
  readonly args: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly ports?: readonly Readonly<Record<string, unknown>>[];
  // biome-ignore lint/suspicious/noExplicitAny: as Kubernetes has it
  readonly [field: string]: any;
}

describeWith('the chart, rendered', [typeof binary === 'string' ? binary : undefined], () => {
  let scratch: Scratch;
  let helm: Helm;
  /** What the defaults give. */
  let standard: KubeObject[];

  beforeAll(async () => {
    scratch = await Scratch.create();
    helm = new Helm(typeof binary === 'string' ? '' : binary.path, scratch);
    standard = await helm.template();
  });
  afterAll(() => scratch?.dispose());

  const podOf = (objects: readonly KubeObject[], name = 'windlass') =>
    objectOf(objects, 'DaemonSet', name).spec.template.spec;
  const containerOf = (objects: readonly KubeObject[], name: string): Container => {
    const pod = podOf(objects);
    const found = [...(pod.initContainers ?? []), ...pod.containers].find((one: Container) => one.name === name);
    if (found === undefined) throw new Error(`no container ${name}`);
    return found;
  };
  const envOf = (objects: readonly KubeObject[]) =>
    Object.fromEntries((containerOf(objects, 'agent').env ?? []).map(({ name, value }) => [name, value]));
  /** As the agent reads it; the variables that depend on the node are made up. */
  const settingsOf = async (objects: readonly KubeObject[], name = 'windlass'): Promise<Settings> => {
    const path = scratch.join('windlass.yaml');
    await writeFile(path, objectOf(objects, 'ConfigMap', name).data['windlass.yaml']);
    return (await readSettings({ flags: ['--config', path], env: {}, cwd: '/' })).settings;
  };

  test('helm lint finds nothing', async () => {
    for (const values of [{}, allOtherValues()]) {
      const { stdout } = await helm.run('lint', '--strict', CHART, ...(await helm.values(values)));
      expect(stdout).toContain('0 chart(s) failed');
      expect(stdout).not.toMatch(/WARNING|ERROR/);
    }
  });

  test('manifests/ is the chart with an existing Secret, and says how to make that', async () => {
    const { stdout } = await helm.run(
      'template',
      ...TEMPLATE_ARGS.map((arg) => arg.replace(/^charts/, `${CHART_ROOT}/charts`)),
    );
    const wanted = manifestsOf(stdout);
    expect(await readdir(MANIFESTS)).toEqual([...wanted.keys()].sort());
    for (const [name, text] of wanted) {
      expect(
        (await readFile(`${MANIFESTS}/${name}`, 'utf8')) === text,
        `${name} is out of date: npm run manifests`,
      ).toBe(true);
      expect(text).not.toMatch(/helm\.sh\/hook|^kind: Secret/m);
    }
    expect(wanted.get('windlass.yaml')).toMatch(
      /kubectl .* create secret generic windlass-cluster .*\n(?:.*\n)*.*secretName: windlass-cluster\n/,
    );
  });

  test('without hooks nothing cleans up, nor makes a Secret', async () => {
    const { stdout } = await helm.run('template', 'windlass', CHART, '--no-hooks');
    expect(stdout).not.toMatch(/cleanup|make-secret|^kind: (Secret|Job)$/m);
  });

  test.each<[values: object, name: RegExp]>([
    [{ imgae: {} }, /imgae/],
    [{ image: { tagg: 'a' } }, /tagg/],
    [{ config: { store: { maxsize: '1GiB' } } }, /maxsize/],
    [{ config: { store: { maxSize: '20Gi' } } }, /maxSize/],
    [{ config: { mirror: { maxConnections: 'many' } } }, /maxConnections/],
    [{ config: { registries: [{ hots: 'docker.io' }] } }, /registries/],
    [{ config: { containerd: { preset: 'k4s' } } }, /preset/],
    [{ config: { 'store.maxSize': '1GiB' } }, /store\.maxSize/],
    [{ bypass: 'yes' }, /bypass/],
    [{ ipFamilies: ['IPv5'] }, /ipFamilies/],
    [{ clusterSecret: { keys: [] } }, /keys/],
    [{ configure: { runtimes: ['docker'] } }, /runtimes/],
    // What a schema cannot say.
    [{ config: { node: { name: 'a' } } }, /config\.node\.name/],
    [{ configure: { hostPath: '/opt' } }, /configure\.hostPath is \/opt: .*\/etc\/containerd\/certs\.d/],
    [
      { hostNetwork: false, config: { status: { listen: '127.0.0.1:5053' } } },
      /config\.status\.listen is 127\.0\.0\.1:5053/,
    ],
    [{ hostNetwork: false, ipFamilies: ['IPv6'] }, /hostNetwork is false: .*IPv4/],
    [{ serviceAccount: { create: false } }, /serviceAccount\.name/],
  ])('refuses %j, and names it', async (values, name) => {
    expect(await helm.refusal(values)).toMatch(name);
  });

  test('every setting of the agent can be set, and reaches it as it would in a file of its own', async () => {
    const settings = allOtherSettings();
    const objects = await helm.template({ config: settings });
    const path = scratch.join('by-hand.yaml');
    await writeFile(path, JSON.stringify(settings));
    const { settings: wanted } = await readSettings({ flags: ['--config', path], env: {}, cwd: '/' });
    // A service that is named for a kind of discovery that is not used stays as the file has it.
    expect(await settingsOf(objects)).toEqual(wanted);
    expect(containerOf(objects, 'agent').ports).toMatchObject([
      { name: 'mirror', containerPort: 5077 },
      { name: 'peer', containerPort: 7051 },
      { name: 'p2p', containerPort: 7052 },
      { name: 'status', containerPort: 7053 },
    ]);
    // What was set is not set again from what the node says.
    expect(Object.keys(envOf(objects))).toEqual(['WINDLASS_NODE_NAME', 'POD_IP']);
  });

  test('by default agents find each other by their Service, with a secret, and are announced by the address of the Pod', async () => {
    const settings = await settingsOf(standard);
    expect(settings).toMatchObject({
      discovery: { kind: 'kubernetes', kubernetes: { service: 'windlass/windlass-peers', port: 'p2p' } },
      cluster: { secretFile: ['/etc/windlass/secret/secret'] },
    });
    expect(settings.mirror.listen.map(({ host }) => host)).toEqual(['127.0.0.1', '::1']);
    expect(envOf(standard)).toMatchObject({
      WINDLASS_PEER_ANNOUNCE: '$(POD_IP):5051',
      WINDLASS_P2P_ANNOUNCE: '/ip4/$(POD_IP)/tcp/5052',
    });
    expect(objectOf(standard, 'Service', 'windlass-peers').spec).toMatchObject({
      clusterIP: 'None',
      publishNotReadyAddresses: true,
      ports: [
        { name: 'peer', port: 5051 },
        { name: 'p2p', port: 5052 },
        { name: 'status', port: 5053 },
      ],
    });
    expect(podOf(standard)).toMatchObject({
      hostNetwork: true,
      dnsPolicy: 'Default',
      priorityClassName: 'system-node-critical',
      tolerations: [{ operator: 'Exists' }],
    });
    expect(standard.filter(({ kind }) => kind === 'NetworkPolicy')).toEqual([]);
    expect(objectOf(standard, 'Role', 'windlass').rules).toEqual([
      { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['get', 'list', 'watch'] },
    ]);
  });

  test('no container is privileged or writes its root, and what runs as root says by which capabilities', async () => {
    for (const objects of [standard, await helm.template(allOtherValues())]) {
      const specs = objects.flatMap(({ kind, spec }) => (kind === 'Pod' ? [spec] : (spec?.template?.spec ?? [])));
      expect(specs).toHaveLength(objects === standard ? 5 : 4);
      for (const { initContainers = [], containers, securityContext } of specs) {
        expect(securityContext.seccompProfile).toEqual({ type: 'RuntimeDefault' });
        for (const { securityContext, resources } of [...initContainers, ...containers]) {
          expect(securityContext).toMatchObject({
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          });
          expect(securityContext.privileged).toBeUndefined();
          const isRoot = securityContext.runAsUser === 0;
          expect([isRoot, securityContext.runAsNonRoot]).toEqual([isRoot, !isRoot]);
          if (!isRoot) expect(securityContext.capabilities.add).toBeUndefined();
          expect(resources.limits.cpu, 'a limit of CPU').toBeUndefined();
          expect(resources.limits.memory).toBeDefined();
        }
      }
    }
  });

  test('kubelet waits as long as the agent drains', async () => {
    const graceOf = async (values: object) => podOf(await helm.template(values)).terminationGracePeriodSeconds;
    const drain = Number.parseInt(findSetting('stop.gracePeriod')?.shownDefault ?? '', 10);
    expect(await graceOf({})).toBe(drain + 10);
    expect(await graceOf({ config: { stop: { gracePeriod: '1.5m' } } })).toBe(100);
    expect(await graceOf({ config: { stop: { gracePeriod: '1500ms' } } })).toBe(12);
    expect(await graceOf({ terminationGracePeriodSeconds: 7 })).toBe(7);
  });

  test.each(['default', 'k3s', 'rke2', 'talos', 'gke', 'eks', 'aks'])(
    'the preset %s mounts the folders that configure writes, at their own paths',
    async (preset) => {
      const objects = await helm.template({ config: { containerd: { preset } } });
      const { certsDir, configFile } = containerdPaths((await settingsOf(objects)).containerd, '/');
      for (const pod of [podOf(objects), podOf(objects, 'windlass-cleanup')]) {
        const folders = new Map(pod.volumes.map(({ name, hostPath }: Container) => [name, hostPath?.path]));
        const mounts = pod.initContainers.at(-1).volumeMounts as { name: string; mountPath: string; readOnly?: true }[];
        const around = (path: string) =>
          mounts.find(({ mountPath }) => mountPath !== '/' && path.startsWith(`${mountPath}/`));
        for (const path of [certsDir, configFile]) {
          const mount = around(path);
          expect(mount?.mountPath, path).toBe(folders.get(mount?.name));
        }
        // So that configure can make it, and cleanup take it away again.
        expect(around(certsDir)).toMatchObject({ name: 'containerd-config' });
        expect(around(certsDir)?.readOnly).toBeUndefined();
      }
    },
  );

  test('a store or a configuration elsewhere is mounted from there', async () => {
    const objects = await helm.template({
      config: {
        store: { path: '/mnt/w' },
        containerd: { certsDir: '/srv/a/certs.d', configFile: '/srv/b/config.toml' },
      },
    });
    const mounts = (name: string) =>
      containerOf(objects, name).volumeMounts.map(({ mountPath }: Container) => mountPath);
    expect(mounts('agent')).toEqual(['/etc/windlass/config', '/etc/windlass/secret', '/mnt/w']);
    expect(mounts('configure')).toEqual(['/etc/windlass/config', '/srv/a', '/srv/b', '/mnt/w']);
    expect(mounts('store')).toEqual(['/etc/windlass/config', '/mnt/w']);
  });

  test.each([
    ['default', '/var/lib/containerd/io.containerd.content.v1.content', '/run/containerd/containerd.sock'],
    [
      'k3s',
      '/var/lib/rancher/k3s/agent/containerd/io.containerd.content.v1.content',
      '/run/k3s/containerd/containerd.sock',
    ],
    [
      'rke2',
      '/var/lib/rancher/rke2/agent/containerd/io.containerd.content.v1.content',
      '/run/k3s/containerd/containerd.sock',
    ],
  ])(
    'what containerd holds with the preset %s is read by root, and by nobody without being told to',
    async (preset, folder, socket) => {
      const objects = await helm.template({ containerdContent: { enabled: true }, config: { containerd: { preset } } });
      const { securityContext, volumeMounts } = containerOf(objects, 'agent');
      expect(securityContext).toMatchObject({ runAsUser: 0, runAsNonRoot: false, capabilities: { drop: ['ALL'] } });
      expect(securityContext.capabilities.add).toBeUndefined();
      expect(containerOf(objects, 'store').args).toContain('--owner=0:0');
      for (const mountPath of [folder, dirname(socket)]) {
        expect(volumeMounts).toContainEqual(expect.objectContaining({ mountPath, readOnly: true }));
      }
      expect(parse(objectOf(objects, 'ConfigMap', 'windlass').data['windlass.yaml']).containerd).toEqual({
        preset,
        socket,
      });
      expect(JSON.stringify(standard)).not.toMatch(/containerd\.sock|content\.v1/);
    },
  );

  test('alerts, recording rules and dashboard are those of the files beside the templates, untouched', async () => {
    const objects = await helm.template({ prometheusRule: { enabled: true }, grafanaDashboard: { enabled: true } });
    const files = async (folder: string) =>
      new Map(
        await Promise.all(
          (await readdir(`${CHART}/${folder}`).catch(() => [])).map(
            async (name) => [name, await readFile(`${CHART}/${folder}/${name}`, 'utf8')] as const,
          ),
        ),
      );
    const groups = [...(await files('files')).values()].flatMap((text) => parse(text).groups);
    expect(objectOf(objects, 'PrometheusRule', 'windlass').spec.groups).toEqual(groups);
    expect(objectOf(objects, 'ConfigMap', 'windlass-dashboard').data ?? {}).toEqual(
      Object.fromEntries(await files('dashboards')),
    );
  });

  test('the bypass takes away what configure wrote, and leaves the agents', async () => {
    const on = await helm.template({ bypass: true });
    expect(containerOf(on, 'configure').args).toEqual([
      '--tolerate-left',
      'cleanup',
      '--config=/etc/windlass/config/windlass.yaml',
    ]);
    expect(containerOf(standard, 'configure').args).toContain('configure');
    expect(containerOf(on, 'agent')).toEqual(containerOf(standard, 'agent'));
  });

  test('where the configuration is not ours, nothing writes it, nor cleans up', async () => {
    const objects = await helm.template({ configure: { enabled: false } });
    expect(podOf(objects).initContainers.map(({ name }: Container) => name)).toEqual(['store']);
    expect(JSON.stringify(objects)).not.toMatch(/\/etc\/containerd|cleanup/);
  });

  test('configure and cleanup take the name of the installation from the same place', async () => {
    const token = '/var/run/secrets/kubernetes.io/serviceaccount/token';
    for (const [values, configure, cleanup] of [
      [{}, `--install-id-from=${token}`, `--tombstone-from=${token}`],
      [{ configure: { installId: 'a' } }, '--install-id=a', '--tombstone=a'],
    ] as const) {
      const objects = await helm.template(values);
      expect(containerOf(objects, 'configure').args).toContain(configure);
      const pod = podOf(objects, 'windlass-cleanup');
      expect(pod.serviceAccountName).toBe(podOf(objects).serviceAccountName);
      expect(pod.initContainers[0].args).toContain(cleanup);
      expect(pod.containers[0].args).toEqual([...pod.initContainers[0].args, '--stay']);
    }
  });

  test('who has a Secret, or needs none, has none made', async () => {
    const kinds = async (values: object) =>
      (await helm.template(values))
        .filter(({ metadata }) => /make-secret|cluster$/.test(metadata.name))
        .map(({ kind }) => kind);
    expect((await kinds({})).sort()).toEqual(['Job', 'Role', 'RoleBinding', 'Secret', 'ServiceAccount']);
    expect(await kinds({ clusterSecret: { existingSecret: 'mine' } })).toEqual([]);
    expect(await kinds({ config: { cluster: { insecure: true } } })).toEqual([]);
    expect(await kinds({ config: { cluster: { secretFile: '/srv/secret' } } })).toEqual([]);
    expect(await kinds({ config: { discovery: { kind: 'none' } } })).toEqual([]);
    const objects = await helm.template({ clusterSecret: { existingSecret: 'mine', keys: ['new', 'old'] } });
    expect(podOf(objects).volumes).toContainEqual({
      name: 'secret',
      secret: {
        secretName: 'mine',
        items: [
          { key: 'new', path: 'new' },
          { key: 'old', path: 'old' },
        ],
      },
    });
    expect((await settingsOf(objects)).cluster.secretFile).toEqual([
      '/etc/windlass/secret/new',
      '/etc/windlass/secret/old',
    ]);
  });

  test('on the Pods’ network the mirror is a port of the node’s loopback, and a policy keeps others away', async () => {
    const objects = await helm.template({ hostNetwork: false });
    expect(containerOf(objects, 'agent').ports?.[0]).toEqual({
      name: 'mirror',
      containerPort: 5050,
      hostPort: 5050,
      hostIP: '127.0.0.1',
    });
    expect((await settingsOf(objects)).mirror.listen).toEqual([{ host: '0.0.0.0', port: 5050 }]);
    const { ingress } = objectOf(objects, 'NetworkPolicy', 'windlass').spec;
    expect(JSON.stringify(ingress)).not.toContain('mirror');
    expect(containerOf(objects, 'agent').readinessProbe.httpGet).toEqual({ path: '/readyz', port: 'status' });
    // It waits for configure on the node's own network.
    expect(podOf(objects, 'windlass-cleanup').hostNetwork).toBe(true);
  });

  test('IPv6 alone, and both', async () => {
    const six = await helm.template({ ipFamilies: ['IPv6'] });
    expect(await settingsOf(six)).toMatchObject({
      peer: { listen: { host: '::' } },
      p2p: { listen: ['/ip6/::/tcp/5052'] },
    });
    expect(envOf(six)).toMatchObject({
      WINDLASS_PEER_ANNOUNCE: '[$(POD_IP)]:5051',
      WINDLASS_P2P_ANNOUNCE: '/ip6/$(POD_IP)/tcp/5052',
    });
    const both = await helm.template({ ipFamilies: ['IPv4', 'IPv6'] });
    expect(objectOf(both, 'Service', 'windlass-peers').spec).toMatchObject({
      ipFamilyPolicy: 'PreferDualStack',
      ipFamilies: ['IPv4', 'IPv6'],
    });
    expect((await settingsOf(both)).p2p.listen).toEqual(['/ip4/0.0.0.0/tcp/5052', '/ip6/::/tcp/5052']);
    expect(envOf(both)).toMatchObject({ WINDLASS_PEER_ANNOUNCE: '$(POD_IP):5051' });
  });

  test('probes ask where the agent listens', async () => {
    for (const [listen, host] of [
      ['0.0.0.0:7000', '127.0.0.1'],
      ['[::]:7000', '127.0.0.1'],
      ['10.0.0.7:7000', '10.0.0.7'],
      ['[::1]:7000', '::1'],
    ]) {
      const agent = containerOf(await helm.template({ config: { status: { listen } } }), 'agent');
      for (const probe of [agent.startupProbe, agent.readinessProbe, agent.livenessProbe]) {
        expect(probe.httpGet).toMatchObject({ host, port: 'status' });
      }
      expect(agent.ports).toContainEqual({ name: 'status', containerPort: 7000 });
    }
  });

  test('new settings are new Pods, and a new chart alone is none', async () => {
    const template = async (values: object) =>
      objectOf(await helm.template(values), 'DaemonSet', 'windlass').spec.template;
    const annotations = async (values: object) => (await template(values)).metadata.annotations;
    expect(await annotations({ config: { log: { level: 'debug' } } })).not.toEqual(await annotations({}));
    expect(await annotations({ prometheusRule: { enabled: false } })).toEqual(await annotations({}));
    expect((await template({})).metadata.labels).not.toHaveProperty(['helm.sh/chart']);
  });

  test('long names stay names', async () => {
    const long = 'a'.repeat(53);
    for (const { metadata } of await helm.template({ fullnameOverride: long, nameOverride: long })) {
      expect(metadata.name.length).toBeLessThanOrEqual(63);
    }
  });
});
