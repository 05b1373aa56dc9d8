import { dirname } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { REGISTRIES_CONF_DIR } from '../../src/cli/runtimes.ts';
import { findSetting } from '../../src/config/setting-keys.ts';
import { containerdPaths } from '../../src/containerd/presets.ts';
import { type Container, containerOf, envOf, podOf, settingsOf } from '../support/chart-objects.ts';
import { allOtherValues } from '../support/chart-values.ts';
import { Helm, objectOf } from '../support/helm.ts';
import { builtHelm } from '../support/helm-binary.ts';
import type { KubeObject } from '../support/kube-objects.ts';
import { describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';

const binary = builtHelm();

describeWith("the chart's Pods", [typeof binary === 'string' ? binary : undefined], () => {
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

  test('by default agents find each other by their Service, with a secret, and are announced by the address of the Pod', async () => {
    const settings = await settingsOf(standard, scratch);
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
    for (const objects of [standard, await helm.template({ ...allOtherValues(), extraInitContainers: [] })]) {
      const specs = objects.flatMap(({ kind, spec }) => (kind === 'Pod' ? [spec] : (spec?.template?.spec ?? [])));
      expect(specs).toHaveLength(objects === standard ? 6 : 4);
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

  test('what writes the files of the node leaves in the status of its Pod why it failed', () => {
    for (const pod of [podOf(standard), podOf(standard, 'windlass-cleanup')]) {
      const writers = [...pod.initContainers, ...pod.containers].filter(({ name }: Container) => name !== 'agent');
      expect(writers).toHaveLength(2);
      for (const { terminationMessagePolicy } of writers)
        expect(terminationMessagePolicy).toBe('FallbackToLogsOnError');
    }
  });

  test('what only speaks with the API goes on no dead or cordoned node, and asks for no priority', async () => {
    const pods = (objects: readonly KubeObject[]) =>
      [
        objectOf(objects, 'Job', 'windlass-make-secret').spec.template.spec,
        objectOf(objects, 'Job', 'windlass-cleanup').spec.template.spec,
        objectOf(objects, 'Job', 'windlass-remove-secret').spec.template.spec,
        objectOf(objects, 'Pod', 'windlass-test').spec,
      ] as { priorityClassName?: string; tolerations: { key: string; operator: string }[] }[];
    for (const { priorityClassName, tolerations } of pods(standard)) {
      expect(priorityClassName).toBeUndefined();
      const keys = tolerations.map(({ key }) => key);
      expect(keys).toContain('node.kubernetes.io/not-ready');
      expect(keys.filter((key) => key === undefined || /unreachable|unschedulable/.test(key))).toEqual([]);
    }
    const own = await helm.template({
      hooks: { tolerations: [{ key: 'a', operator: 'Exists' }] },
      startupTaint: { enabled: true },
    });
    for (const { tolerations } of pods(own)) {
      expect(tolerations.map(({ key }) => key)).toEqual(['a', 'windlass.dev/agent-not-ready']);
    }
  });

  test('the Jobs of the hooks end before Helm gives up, and later than what they wait for', async () => {
    const deadlineOf = async (values: object, name: string): Promise<number> =>
      objectOf(await helm.template(values), 'Job', name).spec.activeDeadlineSeconds;
    expect(await deadlineOf({}, 'windlass-make-secret')).toBeLessThan(300);
    expect(await deadlineOf({}, 'windlass-cleanup')).toBe(280);
    expect(await deadlineOf({ cleanup: { timeout: '9m' } }, 'windlass-cleanup')).toBe(580);
  });

  test('before a release goes, its nodes are cleaned up, that is waited for, and then its Secret goes', async () => {
    const annotation = ({ metadata }: KubeObject, name: string) => metadata.annotations?.[`helm.sh/${name}`];
    const workloads = standard
      .filter((object) => annotation(object, 'hook') === 'pre-delete' && ['DaemonSet', 'Job'].includes(object.kind))
      .sort((a, b) => Number(annotation(a, 'hook-weight')) - Number(annotation(b, 'hook-weight')));
    expect(workloads.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual([
      'DaemonSet windlass-cleanup',
      'Job windlass-cleanup',
      'Job windlass-remove-secret',
    ]);
    const accounts = standard.filter(
      (object) => annotation(object, 'hook') === 'pre-delete' && !workloads.includes(object),
    );
    const last = Math.max(...accounts.map((object) => Number(annotation(object, 'hook-weight'))));
    expect(last).toBeLessThan(Number(annotation(workloads[0] as KubeObject, 'hook-weight')));
  });

  test('the clean-up goes to every node, also where the agents go to some', async () => {
    const objects = await helm.template({
      nodeSelector: { pool: 'a' },
      tolerations: [],
      affinity: { nodeAffinity: {} },
    });
    const [agents, cleanup] = [podOf(objects), podOf(objects, 'windlass-cleanup')];
    // Nobody's second apply may start it anew.
    expect(objectOf(objects, 'DaemonSet', 'windlass-cleanup').spec.updateStrategy).toEqual({ type: 'OnDelete' });
    expect([agents.nodeSelector, agents.tolerations]).toEqual([{ pool: 'a', 'kubernetes.io/os': 'linux' }, undefined]);
    expect([cleanup.nodeSelector, cleanup.tolerations, cleanup.affinity]).toEqual([
      { 'kubernetes.io/os': 'linux' },
      [{ operator: 'Exists' }],
      undefined,
    ]);
  });

  test('numbers of seven digits and more are written out', async () => {
    const objects = await helm.template({
      securityContext: { runAsUser: 1_000_660_000, runAsGroup: 1_000_660_000 },
      resourceQuota: { enabled: true, pods: 2_000_000 },
    });
    expect(containerOf(objects, 'store').args).toContain('--owner=1000660000:1000660000');
    expect(containerOf(objects, 'agent').securityContext).toMatchObject({ runAsUser: 1_000_660_000 });
    expect(objectOf(objects, 'ResourceQuota', 'windlass').spec.hard.pods).toBe('2000000');
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
      const { certsDir, configFile } = containerdPaths((await settingsOf(objects, scratch)).containerd, '/');
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

  test('where the configuration is not ours, nothing writes it', async () => {
    const pod = podOf(await helm.template({ configure: { enabled: false } }));
    expect(pod.initContainers.map(({ name }: Container) => name)).toEqual(['store']);
    expect(JSON.stringify(pod)).not.toMatch(/\/etc\/containerd/);
  });

  test('for CRI-O alone nothing of containerd is mounted, which would make its folder', async () => {
    const objects = await helm.template({ configure: { runtimes: ['cri-o'] } });
    const { volumes } = podOf(objects);
    const { args, volumeMounts } = containerOf(objects, 'configure');
    expect(args).toContain('--runtime=cri-o');
    expect(JSON.stringify([volumes, volumeMounts])).not.toMatch(/\/etc\/containerd/);
    expect(volumeMounts).toContainEqual({ name: 'registries-conf', mountPath: '/etc/containers/registries.conf.d' });
  });

  test.each<[values: object, certsDir: string, registriesConf: string]>([
    [{}, '/etc/containerd/certs.d', '/node/etc/containers/registries.conf.d'],
    [
      { configure: { runtimes: ['containerd', 'podman'] } },
      '/etc/containerd/certs.d',
      '/etc/containers/registries.conf.d',
    ],
    [{ configure: { runtimes: ['cri-o'] } }, '/node/etc/containerd/certs.d', '/etc/containers/registries.conf.d'],
    [{ configure: { enabled: false } }, '/node/etc/containerd/certs.d', '/node/etc/containers/registries.conf.d'],
    [
      { configure: { enabled: false }, config: { containerd: { preset: 'k3s' } } },
      '/var/lib/rancher/k3s/agent/etc/containerd/certs.d',
      '/node/etc/containers/registries.conf.d',
    ],
  ])(
    'the clean-up of %j undoes what other values may have written, and makes no folder for it',
    async (values, ...folders) => {
      const objects = await helm.template(values);
      const { volumes, initContainers } = podOf(objects, 'windlass-cleanup');
      const { args, volumeMounts } = initContainers[0] as Container;
      const flag = (name: string) => args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);
      const settings = await settingsOf(objects, scratch);
      expect([
        flag('containerd.certs-dir') ?? containerdPaths(settings.containerd, '/').certsDir,
        flag('registries-conf-dir') ?? REGISTRIES_CONF_DIR,
      ]).toEqual(folders);
      for (const folder of folders) {
        const mount = volumeMounts.find(({ mountPath }: { mountPath: string }) =>
          `${folder}/`.startsWith(`${mountPath}/`),
        );
        const { hostPath } = volumes.find(({ name }: Container) => name === mount?.name);
        expect(mount.mountPath, folder).toBe(folder.startsWith('/node/') ? '/node/etc' : hostPath.path);
        expect(hostPath.type).toBe(folder.startsWith('/node/') ? 'Directory' : 'DirectoryOrCreate');
      }
    },
  );

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
        .filter(({ metadata }) => /-secret$|cluster$/.test(metadata.name))
        .map(({ kind }) => kind);
    expect((await kinds({})).sort()).toEqual(['Job', 'Job', 'Role', 'RoleBinding', 'ServiceAccount']);
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
    expect((await settingsOf(objects, scratch)).cluster.secretFile).toEqual([
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
    expect((await settingsOf(objects, scratch)).mirror.listen).toEqual([{ host: '0.0.0.0', port: 5050 }]);
    const { ingress } = objectOf(objects, 'NetworkPolicy', 'windlass').spec;
    expect(JSON.stringify(ingress)).not.toContain('mirror');
    expect(containerOf(objects, 'agent').readinessProbe.httpGet).toEqual({ path: '/readyz', port: 'status' });
    // It waits for configure on the node's own network.
    expect(podOf(objects, 'windlass-cleanup').hostNetwork).toBe(true);
  });

  test('that policy is one of the agents, and opens what they say to each other to agents alone', async () => {
    const objects = await helm.template({
      hostNetwork: false,
      networkPolicy: { statusFrom: [{ ipBlock: { cidr: '::/0' } }] },
    });
    const labelsOf = ({ kind, metadata, spec }: KubeObject) =>
      kind === 'Pod' ? metadata.labels : spec?.template?.metadata?.labels;
    const chosenBy = ({ matchLabels }: { readonly matchLabels: Readonly<Record<string, string>> }) =>
      objects
        .filter((object) => {
          const labels = labelsOf(object);
          return labels !== undefined && Object.entries(matchLabels).every(([key, value]) => labels[key] === value);
        })
        .map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    const { podSelector, policyTypes, ingress } = objectOf(objects, 'NetworkPolicy', 'windlass').spec;
    expect([chosenBy(podSelector), policyTypes]).toEqual([['DaemonSet windlass'], ['Ingress']]);
    const [agents, status] = ingress;
    expect(agents.ports).toEqual([{ port: 'peer' }, { port: 'p2p' }]);
    expect(agents.from.map((from: KubeObject) => chosenBy(from.podSelector))).toEqual([['DaemonSet windlass']]);
    expect(status.ports).toEqual([{ port: 'status' }]);
    const [tests, ...given] = status.from;
    expect(chosenBy(tests.podSelector)).toEqual([expect.stringMatching(/^Pod windlass-test/)]);
    expect(given).toEqual([{ ipBlock: { cidr: '::/0' } }]);
  });

  test('rights to Secrets are rights to that of the cluster alone', async () => {
    const rules = standard
      .filter(({ kind }) => kind === 'Role' || kind === 'ClusterRole')
      .flatMap(({ metadata, rules }) => rules.map((rule: object) => ({ role: metadata.name, ...rule })))
      .filter(({ resources }) => resources.includes('secrets') || resources.includes('*'));
    const own = { apiGroups: [''], resources: ['secrets'], resourceNames: ['windlass-cluster'] };
    expect(rules).toEqual([
      { role: 'windlass-cleanup', ...own, verbs: ['get', 'delete'] },
      { role: 'windlass-make-secret', ...own, verbs: ['get', 'create', 'patch'] },
    ]);
  });

  test('IPv6 alone, and both', async () => {
    const six = await helm.template({ ipFamilies: ['IPv6'] });
    expect(await settingsOf(six, scratch)).toMatchObject({
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
    expect((await settingsOf(both, scratch)).p2p.listen).toEqual(['/ip4/0.0.0.0/tcp/5052', '/ip6/::/tcp/5052']);
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

  test('helm test asks where the probes ask, and a policy lets it', async () => {
    const testPod = (objects: readonly KubeObject[]) => objectOf(objects, 'Pod', 'windlass-test');
    for (const [listen, url] of [
      ['0.0.0.0:7000', 'http://127.0.0.1:7000'],
      ['10.0.0.7:7000', 'http://10.0.0.7:7000'],
      ['[::1]:7000', 'http://[::1]:7000'],
    ]) {
      const { spec } = testPod(await helm.template({ config: { status: { listen } } }));
      expect(spec.containers[0].args).toEqual(['status', `--url=${url}`]);
    }
    const statusFrom = [{ namespaceSelector: { matchLabels: { a: 'b' } } }];
    const objects = await helm.template({ hostNetwork: false, networkPolicy: { statusFrom } });
    const rule = objectOf(objects, 'NetworkPolicy', 'windlass').spec.ingress.find(
      ({ ports }: { ports: { port: string }[] }) => ports.some(({ port }) => port === 'status'),
    );
    const admitted = rule.from.find(({ podSelector }: { podSelector?: object }) => podSelector !== undefined);
    expect(testPod(objects).metadata.labels).toMatchObject(admitted.podSelector.matchLabels);
    expect(rule.from).toContainEqual(statusFrom[0]);
  });

  test('what must be there first runs first', async () => {
    const objects = await helm.template({ extraInitContainers: [{ name: 'mine', image: 'a' }] });
    expect(podOf(objects).initContainers.map(({ name }: Container) => name)).toEqual(['mine', 'store', 'configure']);
  });

  test('values that are taken away, as null does, and labels twice, are no errors', async () => {
    const objects = await helm.template({
      config: null,
      podSecurityContext: null,
      securityContext: null,
      commonLabels: { a: 'common', b: 'common' },
      podLabels: { a: 'pod' },
    });
    expect(containerOf(objects, 'agent').securityContext).toMatchObject({ runAsUser: 65532 });
    expect(containerOf(objects, 'store').args).toContain('--owner=65532:65532');
    const { labels } = objectOf(objects, 'DaemonSet', 'windlass').spec.template.metadata;
    expect([labels.a, labels.b]).toEqual(['pod', 'common']);
  });

  test('new settings are new Pods, and a new chart alone is none', async () => {
    const template = async (values: object) =>
      objectOf(await helm.template(values), 'DaemonSet', 'windlass').spec.template;
    const annotations = async (values: object) => (await template(values)).metadata.annotations;
    expect(await annotations({ config: { log: { level: 'debug' } } })).not.toEqual(await annotations({}));
    expect(await annotations({ prometheusRule: { enabled: false } })).toEqual(await annotations({}));
    expect((await template({})).metadata.labels).not.toHaveProperty(['helm.sh/chart']);
  });
});
