import { createPrivateKey, createPublicKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { peerIdOfKey } from '../../../src/routing/identity-peer-id.ts';
import type { AgentProcess } from '../../support/agent-process.ts';
import type { Containerd } from '../../support/containerd.ts';
import type { Host, LabNetwork } from './network.ts';
import { Pull, type PullOptions } from './pull.ts';

/** An Ed25519 private key in DER, up to its 32 bytes. */
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex');

/** What a node is to pull: `lab.test/library/app:v1`, or `…@sha256:…`. */
export interface Reference {
  readonly ns: string;
  readonly repository: string;
  /** Tag or digest. */
  readonly reference: string;
}

/** One node: a host with an agent, and with a containerd on some. */
export class LabNode {
  readonly host: Host;
  readonly agent: AgentProcess;
  readonly containerd: Containerd | undefined;
  readonly #network: LabNetwork;

  constructor(network: LabNetwork, host: Host, agent: AgentProcess, containerd: Containerd | undefined) {
    this.#network = network;
    this.host = host;
    this.agent = agent;
    this.containerd = containerd;
  }

  get name(): string {
    return this.host.name;
  }

  /** Of its identity, which must have been made. */
  async peerId(): Promise<string> {
    const { key }: { key: string } = JSON.parse(await readFile(join(this.agent.storePath, 'identity'), 'utf8'));
    const der = Buffer.concat([PKCS8_ED25519, Buffer.from(key, 'base64url')]);
    return peerIdOfKey(createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })));
  }

  /** By the plain client, which asks this node's agent and nobody else. */
  pull(reference: Reference, options: Pick<PullOptions, 'patienceMs'> = {}): Pull {
    return new Pull({ mirror: this.agent.mirrorUrl, ...reference, ...options });
  }

  /** By containerd where there is one (it goes upstream by itself if its agent fails), else by the plain client. */
  async pullAsItDoes(reference: Reference): Promise<void> {
    if (this.containerd === undefined) await this.pull(reference).done;
    else await this.containerd.pull(nameOf(reference));
  }

  /** Its network goes silent: no FIN, no reset. The test still reaches its agent. */
  async cut(): Promise<void> {
    await this.#network.cut(this.host);
  }

  async mend(): Promise<void> {
    await this.#network.mend(this.host);
  }

  /** Body bytes that its agent has received from registries. */
  upstreamBytes(): Promise<number> {
    return this.agent.metric('windlass_upstream_received_bytes_total');
  }
}

export function nameOf({ ns, repository, reference }: Reference): string {
  return `${ns}/${repository}${reference.includes(':') ? '@' : ':'}${reference}`;
}
