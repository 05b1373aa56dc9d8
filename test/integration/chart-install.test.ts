import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { allOtherValues } from '../support/chart-values.ts';
import { run } from '../support/commands.ts';
import { eventually } from '../support/eventually.ts';
import { readTree } from '../support/file-tree.ts';
import { CHART, Helm } from '../support/helm.ts';
import { builtHelm, HELM_MAJORS } from '../support/helm-binary.ts';
import { JobPlayer } from '../support/job-player.ts';
import { KubeApiserver } from '../support/kube-apiserver.ts';
import { builtKubeApiserver } from '../support/kube-apiserver-binary.ts';
import { type KubeObject, KubeObjects } from '../support/kube-objects.ts';
import { prometheusOperatorCrds } from '../support/prometheus-operator-crds.ts';
import { commandsMissing, describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';

const NAMESPACE = 'windlass';
const CORE = `/api/v1/namespaces/${NAMESPACE}`;
const APPS = `/apis/apps/v1/namespaces/${NAMESPACE}`;
const RELEASE = ['windlass', CHART, '-n', NAMESPACE];
/** For hooks; reached, it is a failure. */
const WAIT = ['--timeout', '100s'];
const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

for (const major of HELM_MAJORS) {
  const [apiserver, helmBinary, crds] = [builtKubeApiserver(), builtHelm(major), prometheusOperatorCrds()];
  const missing = [
    commandsMissing('etcd', 'openssl'),
    ...[apiserver, helmBinary, crds].map((one) => (typeof one === 'string' ? one : undefined)),
  ];

  describeWith(`the chart on a real API server, by Helm ${major}`, missing, () => {
    let scratch: Scratch;
    let api: KubeApiserver;
    let objects: KubeObjects;
    let helm: Helm;
    let before: string[];

    beforeAll(async () => {
      scratch = await Scratch.create();
      api = await KubeApiserver.start(scratch);
      objects = new KubeObjects(api);
      helm = new Helm(typeof helmBinary === 'string' ? '' : helmBinary.path, scratch, await api.writeKubeconfig());
      for (const name of [NAMESPACE, 'elsewhere']) await api.must('POST', '/api/v1/namespaces', { metadata: { name } });
      // As a controller makes it.
      for (const name of [NAMESPACE, 'elsewhere']) {
        await api.must('POST', `/api/v1/namespaces/${name}/serviceaccounts`, { metadata: { name: 'default' } });
      }
      for (const text of typeof crds === 'string' ? [] : await crds()) await objects.create(parse(text));
      await eventually(async () => (await api.call('GET', '/apis/monitoring.coreos.com/v1')).status === 200);
      before = await objects.inventory();
    });
    afterAll(() => scratch?.dispose());

    const hooksDone = (play: (job: KubeObject) => Promise<void>) => new JobPlayer(api, NAMESPACE, play);
    const install = async (values: object = {}) => {
      await using _player = hooksDone((job) => makeSecret(job));
      return await helm.run('install', ...RELEASE, ...WAIT, ...(await helm.values(values)));
    };
    const uninstall = async () => {
      await using _player = hooksDone((job) =>
        job.metadata.name === 'windlass-remove-secret' ? removeSecret(job) : awaitCleanup(job),
      );
      return await helm.run('uninstall', 'windlass', '-n', NAMESPACE, ...WAIT);
    };
    const get = async (path: string) => JSON.parse(await api.must('GET', path));
    const daemonSet = () => get(`${APPS}/daemonsets/windlass`);

    /** May the account of a Job do this in its namespace, or, where there is none, in the cluster? */
    async function may(job: KubeObject, verb: string, resource: string, name?: string): Promise<boolean> {
      const token = await api.tokenOf(NAMESPACE, job.spec.template.spec.serviceAccountName);
      const [plural, group = ''] = resource.split(/\.(.*)/);
      const namespace = plural === 'nodes' ? {} : { namespace: NAMESPACE };
      const review = {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SelfSubjectAccessReview',
        spec: {
          resourceAttributes: { verb, group, resource: plural, ...namespace, ...(name === undefined ? {} : { name }) },
        },
      };
      const { status, text } = await api.call(
        'POST',
        `/apis/authorization.k8s.io/v1/selfsubjectaccessreviews`,
        review,
        token,
      );
      expect(status).toBe(201);
      return JSON.parse(text).status.allowed;
    }

    /** As windlass make-secret does it: one that is there stays. */
    async function makeSecret(job: KubeObject): Promise<void> {
      for (const verb of ['get', 'create', 'patch']) {
        expect(await may(job, verb, 'secrets', 'windlass-cluster'), verb).toBe(true);
        expect(await may(job, verb, 'secrets', 'other'), verb).toBe(false);
      }
      if ((await api.call('GET', `${CORE}/secrets/windlass-cluster`)).status === 200) return;
      const secret = {
        metadata: { name: 'windlass-cluster', labels: { 'app.kubernetes.io/managed-by': 'windlass' } },
        stringData: { secret: `made by ${job.metadata.uid}` },
      };
      await api.must('POST', `${CORE}/secrets`, secret);
    }

    /** As windlass remove-secret does it: one that somebody else made stays. */
    async function removeSecret(job: KubeObject): Promise<void> {
      const { args } = job.spec.template.spec.containers[0];
      expect(args).toEqual(['remove-secret', '--name=windlass-cluster', `--namespace=${NAMESPACE}`]);
      for (const verb of ['get', 'delete']) {
        expect(await may(job, verb, 'secrets', 'windlass-cluster'), verb).toBe(true);
        expect(await may(job, verb, 'secrets', 'other'), verb).toBe(false);
      }
      const { labels } = (await get(`${CORE}/secrets/windlass-cluster`)).metadata;
      if (labels?.['app.kubernetes.io/managed-by'] === 'windlass') {
        await api.must('DELETE', `${CORE}/secrets/windlass-cluster`);
      }
    }

    async function awaitCleanup(job: KubeObject): Promise<void> {
      expect(await may(job, 'get', 'daemonsets.apps', 'windlass-cleanup')).toBe(true);
      expect(await may(job, 'get', 'daemonsets.apps', 'windlass')).toBe(false);
      expect([
        await may(job, 'list', 'pods'),
        await may(job, 'list', 'nodes'),
        await may(job, 'list', 'secrets'),
      ]).toEqual([true, true, false]);
      // The agents still run, and the clean-up goes by the same name as they.
      const [agents, cleanup] = [await daemonSet(), await get(`${APPS}/daemonsets/windlass-cleanup`)];
      const account = cleanup.spec.template.spec.serviceAccountName;
      expect(account).toBe(agents.spec.template.spec.serviceAccountName);
      await api.must('GET', `${CORE}/serviceaccounts/${account}`);
    }

    test('it takes what the chart renders and manifests/, and has nothing to say about it', async () => {
      const manifests = await Promise.all(
        ['windlass.yaml', 'cleanup.yaml'].map((name) => readFile(`${CHART}/../../manifests/${name}`, 'utf8')),
      );
      const monitors = {
        serviceMonitor: { enabled: true },
        podMonitor: { enabled: true },
        grafanaDashboard: { enabled: true },
      };
      for (const rendered of [
        await helm.template(),
        await helm.template(allOtherValues()),
        await helm.template({ ...allOtherValues(), hostNetwork: true, bypass: false, ipFamilies: ['IPv6'] }),
        await helm.template({
          configure: { enabled: false },
          hostNetwork: false,
          prometheusRule: { enabled: true },
          ...monitors,
        }),
        manifests.flatMap((text) => parseAllDocuments(text).map((one) => one.toJS() as KubeObject)),
      ]) {
        const said = await Promise.all(rendered.map((object) => objects.complaints(object)));
        expect(said.flat().filter((text) => !/^Namespace windlass: 409/.test(text))).toEqual([]);
      }
    });

    test('it would say so: an unknown field, and one that is deprecated', async () => {
      const pod = (spec: object) =>
        objects.complaints({
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: {
            name: 'a',
            namespace: NAMESPACE,
            annotations: { 'scheduler.alpha.kubernetes.io/critical-pod': '' },
          },
          spec: { containers: [{ name: 'a', image: 'a' }], ...spec },
        });
      expect((await pod({})).join()).toMatch(/critical-pod/);
      expect((await pod({ hostNetwrok: true })).join()).toMatch(/unknown field .*spec\.hostNetwrok/);
    });

    test('install, upgrade with every value changed, rollback, uninstall: nothing is left behind', async () => {
      expect((await install()).stderr).toBe('');
      const { data } = await get(`${CORE}/secrets/windlass-cluster`);
      expect((await daemonSet()).spec.template.spec.hostNetwork).toBe(true);

      const {
        namespaceOverride: _,
        fullnameOverride: __,
        nameOverride: ___,
        ...values
      } = allOtherValues() as Record<string, unknown>;
      await using player = hooksDone((job) => makeSecret(job));
      const upgraded = await helm.run(
        'upgrade',
        ...RELEASE,
        ...WAIT,
        ...(await helm.values({ ...values, clusterSecret: {} })),
      );
      expect(upgraded.stderr).toBe('');
      const changed = (await daemonSet()).spec.template.spec;
      expect([changed.hostNetwork, changed.terminationGracePeriodSeconds]).toEqual([undefined, 90]);
      expect((await get(`${CORE}/secrets/windlass-cluster`)).data, 'the Secret is kept').toEqual(data);

      // As it may be gone where the release had another one meanwhile.
      await api.must('DELETE', `${CORE}/secrets/windlass-cluster`);
      await helm.run('rollback', 'windlass', '1', '-n', NAMESPACE, ...WAIT);
      await get(`${CORE}/secrets/windlass-cluster`);
      expect((await daemonSet()).spec.template.spec).toMatchObject({
        hostNetwork: true,
        terminationGracePeriodSeconds: 30,
      });
      await player[Symbol.asyncDispose]();

      expect((await uninstall()).stderr).toBe('');
      expect(await objects.inventory()).toEqual(before);
    });

    test('an installation has a name of its own: what one has taken away, the next one may write', async () => {
      const folder = scratch.join('node');
      await mkdir(`${folder}/store`, { recursive: true });
      const settings = {
        containerd: { certsDir: `${folder}/certs.d` },
        store: { path: `${folder}/store` },
        registries: ['docker.io'],
      };
      await writeFile(`${folder}/windlass.yaml`, JSON.stringify(settings));
      const windlass = async (command: string, flag: string) => {
        await writeFile(`${folder}/token`, await api.tokenOf(NAMESPACE, 'windlass'));
        const args = [MAIN, command, `--config=${folder}/windlass.yaml`, `--${flag}=${folder}/token`];
        return (await run(process.execPath, [...args, `--registries-conf-dir=${folder}/registries.conf.d`])).stdout;
      };
      const uid = async () => (await get(`${CORE}/serviceaccounts/windlass`)).metadata.uid;
      const isWritten = async () => Object.keys(await readTree(folder)).includes('certs.d/docker.io/hosts.toml');

      await install();
      const first = await uid();
      await windlass('configure', 'install-id-from');
      expect(await isWritten()).toBe(true);
      await windlass('cleanup', 'tombstone-from');
      expect(await readFile(`${folder}/store/uninstalled`, 'utf8')).toBe(`${first}\n`);
      // A Pod of it that starts late.
      expect(await windlass('configure', 'install-id-from')).toMatch(/^nothing is written, /);
      expect(await isWritten()).toBe(false);
      await uninstall();

      await install();
      expect(await uid()).not.toBe(first);
      expect(await windlass('configure', 'install-id-from')).toMatch(/^written: /);
      expect(await isWritten()).toBe(true);
      await uninstall();
    });

    test('a Secret of that name that was there before stays, also when the release goes', async () => {
      const secret = { metadata: { name: 'windlass-cluster' }, stringData: { secret: "somebody else's" } };
      await api.must('POST', `${CORE}/secrets`, secret);
      await install();
      await uninstall();
      await api.must('DELETE', `${CORE}/secrets/windlass-cluster`);
      expect(await objects.inventory()).toEqual(before);
    });

    test("the README's Pod for a node that was away is one, and puts back what is there", async () => {
      const readme = await readFile(`${CHART}/README.md`, 'utf8');
      const overrides = /kubectl run windlass-cleanup .*--overrides='(\{\n[\s\S]*?\n\})'\n/.exec(readme)?.[1] ?? '';
      const { spec } = JSON.parse(overrides.replace(`'"$NODE"'`, 'worker-7'));
      const metadata = { name: 'windlass-cleanup', namespace: NAMESPACE };
      expect(await objects.complaints({ apiVersion: 'v1', kind: 'Pod', metadata, spec })).toEqual([]);

      const node = scratch.join('late-node');
      await mkdir(`${node}/etc/containerd`, { recursive: true });
      const before = await readTree(node);
      const windlass = (...args: string[]) =>
        run(process.execPath, [MAIN, ...args], { cwd: scratch.join('late-node') });
      const [, ...folders] = (spec.containers[0].args as string[]).map((arg) => arg.replace('=/node/', `=${node}/`));
      await windlass(
        'configure',
        ...folders,
        '--runtime=containerd',
        '--registries=docker.io',
        '--store.path=/nonexistent',
      );
      expect(await readTree(node)).not.toEqual(before);
      await windlass('cleanup', ...folders);
      expect(await readTree(node)).toEqual(before);
    });

    test('the notes say what outlives the release, and how it is kept after half an uninstallation', async () => {
      const notes = async (values: object) =>
        (await helm.run('install', ...RELEASE, '--dry-run=client', ...(await helm.values(values)))).stdout;
      expect(await notes({ startupTaint: { enabled: true } })).toMatch(
        /take the taint windlass\.dev\/agent-not-ready out/,
      );
      const standard = await notes({});
      expect(standard).not.toMatch(/take the taint/);
      expect(standard).toMatch(/"nothing is written": .*configure\.installId/);
    });

    test('an uninstallation whose clean-up fails stops before it has taken anything away', async () => {
      await install();
      const failing = new JobPlayer(api, NAMESPACE, () => Promise.reject(new Error('as it is to')));
      const { code, stderr } = await helm.try('uninstall', 'windlass', '-n', NAMESPACE);
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/pre-delete|windlass-cleanup/) });
      await expect(failing[Symbol.asyncDispose]()).rejects.toThrow('as it is to');
      await daemonSet();
      await uninstall();
      expect(await objects.inventory()).toEqual(before);
    });
  });
}
