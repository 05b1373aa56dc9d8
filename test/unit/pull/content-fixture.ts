import { mkdir, mkdtemp, rm, stat, truncate, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ContentChange } from '../../../src/containerd/containerd-content.ts';
import type { HeldContent } from '../../../src/containerd/held-content.ts';
import { Metrics } from '../../../src/metrics/metrics.ts';
import { type Digest, hexOf } from '../../../src/oci/digest.ts';
import type { RepositoryName } from '../../../src/oci/reference.ts';
import { ContentBlobs } from '../../../src/pull/content-blobs.ts';
import { OpenRepositories } from '../../../src/pull/open-repositories.ts';
import { HashPool } from '../../../src/store/hash-pool.ts';
import type { Registries } from '../../../src/upstream/registry-client.ts';
import { logger, ORIGIN, scriptedRegistries } from './pull-fixture.ts';
import { digestOf } from './scripted-source.ts';

/** What a containerd is known to hold, its files in a folder, and the blobs that are served of it. */
export class ContentFixture {
  readonly folder: string;
  readonly blobs: ContentBlobs;
  readonly metrics = new Metrics();
  readonly #hashes = new HashPool(1);
  readonly #held = new Map<Digest, HeldContent>();
  readonly #listeners = new Set<(change: ContentChange) => void>();

  private constructor(folder: string, registries: Registries) {
    this.folder = folder;
    this.blobs = new ContentBlobs({
      content: {
        listed: Promise.resolve(),
        get: (digest) => this.#held.get(digest),
        entries: () => this.#held.entries(),
        pathOf: (digest) => join(folder, hexOf(digest)),
        vanished: (digest) => this.forget(digest),
        subscribe: (listener) => {
          this.#listeners.add(listener);
          return () => this.#listeners.delete(listener);
        },
      },
      repositories: new OpenRepositories({ registries, hosts: [ORIGIN.registry], openWhenDown: true, logger }),
      hashes: this.#hashes,
      logger,
      metrics: this.metrics,
    });
  }

  /** By default any repository is open. */
  static async create(registries = scriptedRegistries({ headBlob: async () => ({ sizeBytes: 1 }) })) {
    return new ContentFixture(await mkdtemp(join(tmpdir(), 'wl-content-')), registries);
  }

  async add(
    bytes: Uint8Array,
    { digest = digestOf(bytes), source = ORIGIN }: { digest?: Digest; source?: RepositoryName } = {},
  ): Promise<Digest> {
    await writeFile(this.pathOf(digest), bytes);
    this.#hold(digest, bytes.length, source);
    return digest;
  }

  pathOf(digest: Digest): string {
    return join(this.folder, hexOf(digest));
  }

  /** Of nothing but holes, whose digest is wrong: takes longer to hash than any test. */
  async addEndless(name: string): Promise<Digest> {
    const sizeBytes = 64 * 1024 ** 3;
    const digest = digestOf(Buffer.from(name));
    await writeFile(this.pathOf(digest), '');
    await truncate(this.pathOf(digest), sizeBytes);
    this.#hold(digest, sizeBytes, ORIGIN);
    return digest;
  }

  /** Can be opened, and has the right size, but every read fails. */
  async addUnreadable(name: string): Promise<Digest> {
    const digest = digestOf(Buffer.from(name));
    await mkdir(this.pathOf(digest));
    this.#hold(digest, (await stat(this.pathOf(digest))).size, ORIGIN);
    return digest;
  }

  /** Nobody knows of it yet. */
  async collect(digest: Digest): Promise<void> {
    await unlink(this.pathOf(digest));
  }

  /** As a look does whose questions took longer than the content was there. */
  tellLate(digest: Digest): void {
    this.#tell({ added: [digest], removed: [] });
  }

  /** Its file has been missed. */
  forget(digest: Digest): void {
    if (this.#held.delete(digest)) this.#tell({ added: [], removed: [digest] });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.blobs.stop();
    await this.#hashes.stop();
    await rm(this.folder, { recursive: true });
  }

  #hold(digest: Digest, sizeBytes: number, source: RepositoryName): void {
    this.#held.set(digest, { sizeBytes, createdMs: 0, sources: [source] });
    this.#tell({ added: [digest], removed: [] });
  }

  #tell(change: ContentChange): void {
    for (const listener of this.#listeners) listener(change);
  }
}
