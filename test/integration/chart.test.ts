import { readdir, readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { manifestsOf, TEMPLATE_ARGS } from '../../charts/manifests.ts';
import { readSettings } from '../../src/config/load-settings.ts';
import { containerOf, envOf, settingsOf } from '../support/chart-objects.ts';
import { allOtherSettings, allOtherValues } from '../support/chart-values.ts';
import { CHART, Helm, objectOf } from '../support/helm.ts';
import { builtHelm } from '../support/helm-binary.ts';
import type { KubeObject } from '../support/kube-objects.ts';
import { describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';

const CHART_ROOT = `${CHART}/../..`;
const MANIFESTS = `${CHART_ROOT}/manifests`;
const [binary, binary4] = [builtHelm(3), builtHelm(4)];

describeWith(
  'Helm 4 as Helm 3',
  [binary, binary4].map((one) => (typeof one === 'string' ? one : undefined)),
  () => {
    let scratch: Scratch;
    let helm3: Helm;
    let helm4: Helm;

    beforeAll(async () => {
      scratch = await Scratch.create();
      helm3 = new Helm(typeof binary === 'string' ? '' : binary.path, scratch);
      helm4 = new Helm(typeof binary4 === 'string' ? '' : binary4.path, scratch);
    });
    afterAll(() => scratch?.dispose());

    test('they are two', async () => {
      expect((await helm3.run('version', '--short')).stdout).toMatch(/^v3\./);
      expect((await helm4.run('version', '--short')).stdout).toMatch(/^v4\./);
    });

    test.each([{}, allOtherValues()])('they render the same, %#', async (values) => {
      const byName = (objects: readonly KubeObject[]) =>
        objects.map((object) => [`${object.kind} ${object.metadata.name}`, object] as const).sort();
      expect(byName(await helm4.template(values))).toEqual(byName(await helm3.template(values)));
    });

    test('Helm 4 finds nothing to say about it, and refuses what the schema does', async () => {
      const { stdout } = await helm4.run('lint', '--strict', CHART, ...(await helm4.values(allOtherValues())));
      expect(stdout).not.toMatch(/WARN|ERROR/);
      expect(await helm4.refusal({ imgae: {} })).toMatch(/imgae/);
    });
  },
);

describeWith("the chart's values", [typeof binary === 'string' ? binary : undefined], () => {
  let scratch: Scratch;
  let helm: Helm;

  beforeAll(async () => {
    scratch = await Scratch.create();
    helm = new Helm(typeof binary === 'string' ? '' : binary.path, scratch);
  });
  afterAll(() => scratch?.dispose());

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
    [{ serviceAccount: { create: false, name: 'mine' } }, /configure\.installId/],
    [{ commonLabels: { 'app.kubernetes.io/name': 'a' } }, /commonLabels: app\.kubernetes\.io\/name/],
    [{ commonLabels: { 'app.kubernetes.io/managed-by': 'a' } }, /commonLabels: app\.kubernetes\.io\/managed-by/],
    [{ podLabels: { 'app.kubernetes.io/component': 'a' } }, /podLabels: app\.kubernetes\.io\/component/],
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
    expect(await settingsOf(objects, scratch)).toEqual(wanted);
    expect(containerOf(objects, 'agent').ports).toMatchObject([
      { name: 'mirror', containerPort: 5077 },
      { name: 'peer', containerPort: 7051 },
      { name: 'p2p', containerPort: 7052 },
      { name: 'status', containerPort: 7053 },
    ]);
    // What was set is not set again from what the node says.
    expect(Object.keys(envOf(objects))).toEqual(['WINDLASS_NODE_NAME', 'POD_IP']);
  });

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

  test('long names stay names', async () => {
    const long = 'a'.repeat(53);
    const values = { namespaceOverride: 'n'.repeat(63), startupTaint: { enabled: true } };
    const objects = await helm.template({ fullnameOverride: long, nameOverride: long, ...values });
    for (const { metadata } of objects) {
      expect(metadata.name.length).toBeLessThanOrEqual(metadata.namespace === undefined ? 253 : 63);
    }
  });

  test('releases of one name in two namespaces share no object', async () => {
    const namesIn = async (namespaceOverride: string) =>
      (await helm.template({ ...allOtherValues(), namespaceOverride })).map(
        ({ kind, metadata }) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`,
      );
    const [one, other] = [await namesIn('a'), await namesIn('b')];
    expect(one.filter((name) => name.startsWith('Cluster') || name.startsWith('Validating')).sort()).toEqual([
      'ClusterRole /a.the-winch-cleanup',
      'ClusterRole /a.the-winch-startup-taint',
      'ClusterRoleBinding /a.the-winch-cleanup',
      'ClusterRoleBinding /a.the-winch-startup-taint',
      'ValidatingAdmissionPolicy /a.the-winch-startup-taint',
      'ValidatingAdmissionPolicyBinding /a.the-winch-startup-taint',
    ]);
    expect(one.filter((name) => other.includes(name))).toEqual([]);
  });

  test('what refers to an object in no namespace has its name', async () => {
    const objects = await helm.template(allOtherValues());
    const bindings = objects.filter(({ kind }) => kind === 'ClusterRoleBinding');
    expect(bindings).toHaveLength(2);
    for (const { roleRef } of bindings) objectOf(objects, roleRef.kind, roleRef.name);
    for (const { kind, spec } of objects) {
      if (kind === 'ValidatingAdmissionPolicyBinding') objectOf(objects, 'ValidatingAdmissionPolicy', spec.policyName);
    }
  });
});
