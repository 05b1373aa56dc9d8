import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

interface Spdx {
  readonly name: string;
  readonly creationInfo: object;
  readonly packages: readonly SpdxPackage[];
  readonly relationships: readonly SpdxRelationship[];
  readonly documentDescribes: readonly string[];
}

interface SpdxPackage {
  readonly SPDXID: string;
  /** Its folder; of ourselves: empty. */
  readonly packageFileName: string;
}

interface SpdxRelationship {
  readonly spdxElementId: string;
  readonly relatedSpdxElement: string;
  readonly relationshipType: string;
}

/**
 * An SBOM in SPDX 2.3: `npm sbom`, less the packages of which nothing is used, and with Node, on which the image runs.
 * The same for the same lock file and Node, whenever it is made: `created` is SOURCE_DATE_EPOCH, else the epoch itself.
 * @param root the folder with the lock file
 * @param folders of packages: `node_modules/…`
 */
export async function billOfMaterials(root: string, folders: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('npm', ['sbom', '--package-lock-only', '--sbom-format=spdx'], {
    cwd: root,
    maxBuffer: 64 * 1024 * 1024,
  });
  const all: Spdx = JSON.parse(stdout);
  const used = new Set(folders);
  const packages = all.packages.filter(
    ({ SPDXID, packageFileName }) => used.delete(packageFileName) || all.documentDescribes.includes(SPDXID),
  );
  if (used.size > 0) throw new Error(`npm sbom does not know ${[...used].join(', ')}`);
  const held = new Set(['SPDXRef-DOCUMENT', ...packages.map(({ SPDXID }) => SPDXID)]);
  const relationships = all.relationships.filter(
    ({ spdxElementId, relatedSpdxElement }) => held.has(spdxElementId) && held.has(relatedSpdxElement),
  );
  const node = nodePackage(process.version.slice(1));
  const runsOnNode = all.documentDescribes.map((windlass) => ({
    spdxElementId: node.SPDXID,
    relatedSpdxElement: windlass,
    relationshipType: 'RUNTIME_DEPENDENCY_OF',
  }));
  return JSON.stringify({
    ...all,
    documentNamespace: `http://spdx.org/spdxdocs/${all.name.replace('@', '-')}-${await hashOf(root, packages)}`,
    creationInfo: { ...all.creationInfo, created: created() },
    packages: [...packages, node],
    relationships: [...relationships, ...runsOnNode],
  });
}

/** Of the lock file and what of it is used: another document has another name. */
async function hashOf(root: string, packages: readonly SpdxPackage[]): Promise<string> {
  const hash = createHash('sha256').update(await readFile(join(root, 'package-lock.json')));
  for (const { SPDXID } of packages) hash.update(`\n${SPDXID}`);
  return hash.update(process.version).digest('hex').slice(0, 32);
}

function created(): string {
  const seconds = Number(process.env.SOURCE_DATE_EPOCH ?? 0);
  return new Date(seconds * 1000).toISOString().replace(/\.\d+Z$/, 'Z');
}

function nodePackage(version: string) {
  return {
    name: 'node',
    SPDXID: `SPDXRef-Package-node-${version}`,
    versionInfo: version,
    packageFileName: 'node',
    downloadLocation: 'NOASSERTION',
    filesAnalyzed: false,
    licenseDeclared: 'MIT',
    externalRefs: [
      {
        referenceCategory: 'PACKAGE-MANAGER',
        referenceType: 'purl',
        referenceLocator: `pkg:generic/node@${version}`,
      },
    ],
  };
}
