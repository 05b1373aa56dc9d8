import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';

const A = 1;
const AAAA = 28;
const SRV = 33;
const CODES = { servfail: 2, nxdomain: 3, notimp: 4, refused: 5 } as const;

export interface DnsRecords {
  readonly a?: readonly string[];
  readonly aaaa?: readonly string[];
  readonly srv?: readonly { readonly name: string; readonly port: number }[];
}

/** What it does with a question: answers with records, refuses in some way, or says nothing. */
export type DnsBehaviour = DnsRecords | keyof typeof CODES | 'silent';

/** A small real DNS server over UDP, for one name, or for some by name; it does what it is told last. */
export class DnsServer {
  readonly #socket: Socket = createSocket('udp4');
  behaviour: DnsBehaviour = {};
  /** Instead, for one name. */
  readonly byName = new Map<string, DnsBehaviour>();
  /** Instead of both, for questions of one type. */
  readonly byType = new Map<'a' | 'aaaa' | 'srv', DnsBehaviour>();
  /** Names asked for, of A. */
  readonly asked: string[] = [];

  /** @returns `address:port` */
  async listen(address = '127.0.0.1', port = 0): Promise<string> {
    this.#socket.on('message', (query, from) => {
      const answer = this.#answer(query);
      if (answer !== undefined) this.#socket.send(answer, from.port, from.address);
    });
    await new Promise<void>((resolve) => this.#socket.bind(port, address, resolve));
    return `${address}:${this.#socket.address().port}`;
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(resolve));
  }

  #answer(query: Buffer): Buffer | undefined {
    const labels: string[] = [];
    let at = 12;
    for (let length = query.readUInt8(at); length > 0; length = query.readUInt8(at)) {
      labels.push(query.toString('latin1', at + 1, at + 1 + length));
      at += 1 + length;
    }
    const type = query.readUInt16BE(at + 1);
    const question = query.subarray(12, at + 5);
    const name = labels.join('.');
    if (type === A) this.asked.push(name);
    const kind = type === A ? 'a' : type === AAAA ? 'aaaa' : 'srv';
    const behaviour = this.byType.get(kind) ?? this.byName.get(name) ?? this.behaviour;
    if (behaviour === 'silent') return undefined;
    const records = typeof behaviour === 'string' ? [] : recordsOf(behaviour, type);
    const header = Buffer.alloc(12);
    header.writeUInt16BE(query.readUInt16BE(0), 0);
    header.writeUInt16BE(0x8580 | (typeof behaviour === 'string' ? CODES[behaviour] : 0), 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(records.length, 6);
    return Buffer.concat([header, question, ...records]);
  }
}

function recordsOf({ a = [], aaaa = [], srv = [] }: DnsRecords, type: number): Buffer[] {
  switch (type) {
    case A:
      return a.map((address) => record(A, Buffer.from(address.split('.').map(Number))));
    case AAAA:
      return aaaa.map((address) => record(AAAA, bytesOfV6(address)));
    case SRV:
      return srv.map(({ name, port }) => {
        const head = Buffer.alloc(6);
        head.writeUInt16BE(port, 4);
        return record(SRV, Buffer.concat([head, encodeName(name)]));
      });
    default:
      return [];
  }
}

function record(type: number, data: Buffer): Buffer {
  const head = Buffer.alloc(12);
  // The name is that of the question, at byte 12.
  head.writeUInt16BE(0xc00c, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt32BE(1, 6);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}

function encodeName(name: string): Buffer {
  const labels = name.split('.').filter((label) => label !== '');
  return Buffer.concat([
    ...labels.map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)])),
    Buffer.alloc(1),
  ]);
}

function bytesOfV6(address: string): Buffer {
  if (!isIPv6(address)) throw new TypeError(`expected an IPv6 address, got ${address}`);
  const [front = '', back] = address.split('::');
  const groups = (text: string) => (text === '' ? [] : text.split(':'));
  const [head, tail] = [groups(front), groups(back ?? '')];
  const zeros = back === undefined ? [] : Array.from({ length: 8 - head.length - tail.length }, () => '0');
  return Buffer.from([...head, ...zeros, ...tail].map((group) => group.padStart(4, '0')).join(''), 'hex');
}
