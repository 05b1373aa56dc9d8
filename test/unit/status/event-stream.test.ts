import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { EventStream, MAX_LISTENERS } from '../../../src/status/event-stream.ts';
import { eventually } from '../../support/eventually.ts';

const EVERY_MS = 10;
const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

interface Scene {
  readonly stream: EventStream;
  readonly errors: unknown[];
  /** How often it was asked what is new. */
  asked: number;
  news: string;
}

async function start(all = 'event: all\ndata: 1\n\n'): Promise<Scene & { listen(): Promise<Listener> }> {
  const errors: unknown[] = [];
  const stream = new EventStream({
    everyMs: EVERY_MS,
    onError: (error) => errors.push(error),
    feed: {
      all: async (names) => `${all}event: names\ndata: ${names}\n\n`,
      news: async (names) => {
        scene.asked += 1;
        return new Map(names.map((told) => [told, scene.news]));
      },
    },
  });
  const server: Server = createServer((req, response) => {
    if (!stream.add(response, req.url === '/names')) response.writeHead(503).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ends.push(() => {
    stream.stop();
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const scene = { stream, errors, asked: 0, news: '', listen: () => Listener.start(port) };
  return scene;
}

class Listener {
  text = '';
  closed = false;
  readonly response: IncomingMessage;

  constructor(response: IncomingMessage) {
    this.response = response;
    response.on('close', () => {
      this.closed = true;
    });
    response.on('error', () => {});
  }

  static async start(port: number, path = '/names'): Promise<Listener> {
    const asking = request({ port, host: '127.0.0.1', path, agent: false }).end();
    ends.push(() => asking.destroy());
    asking.on('error', () => {});
    const [response] = (await once(asking, 'response')) as [IncomingMessage];
    return new Listener(response);
  }

  read(): this {
    this.response.setEncoding('utf8').on('data', (text: string) => {
      this.text += text;
    });
    return this;
  }
}

test('all first, then what is new, and a beat where nothing is', async () => {
  const scene = await start();
  const listener = (await scene.listen()).read();
  expect(listener.response.headers).toMatchObject({ 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  await eventually(() => listener.text.includes('event: beat'));
  expect(listener.text).toMatch(/^event: all\ndata: 1\n\nevent: names\ndata: true\n\nevent: beat\ndata: \{\}\n\n/);
  scene.news = 'event: news\ndata: 2\n\n';
  await eventually(() => listener.text.includes('event: news\ndata: 2\n\n'));
});

test('nothing is asked while nobody listens, nor after the last one left', async () => {
  const scene = await start();
  const listener = await scene.listen();
  await eventually(() => scene.asked >= 3);
  listener.response.destroy();
  await eventually(() => scene.stream.listeners === 0);
  const asked = scene.asked;
  await new Promise((resolve) => setTimeout(resolve, 10 * EVERY_MS));
  expect(scene.asked).toBeLessThanOrEqual(asked + 1);
  await scene.listen();
  await eventually(() => scene.asked > asked + 1);
});

test('who comes when there are as many as may be is refused, until one leaves', async () => {
  const scene = await start();
  const listeners = await Promise.all(Array.from({ length: MAX_LISTENERS }, () => scene.listen()));
  expect(listeners.map(({ response }) => response.statusCode)).toEqual(listeners.map(() => 200));
  expect((await scene.listen()).response.statusCode).toBe(503);
  listeners[0]?.response.destroy();
  await eventually(() => scene.stream.listeners === MAX_LISTENERS - 1);
  expect((await scene.listen()).response.statusCode).toBe(200);
});

test('who takes nothing is let go, and holds up nobody', async () => {
  const scene = await start();
  const slow = await scene.listen();
  const quick = (await scene.listen()).read();
  scene.news = `event: news\ndata: ${'x'.repeat(256 * 1024)}\n\n`;
  await eventually(() => scene.stream.listeners === 1, { what: 'the slow one to be let go' });
  scene.news = 'event: after\ndata: 1\n\n';
  await eventually(() => quick.text.includes('event: after'));
  slow.response.resume();
  await eventually(() => slow.closed);
});

test('however much there is to tell at first, whoever takes it gets all of it', async () => {
  const scene = await start(`event: all\ndata: ${'x'.repeat(16 * 1024 * 1024)}\n\n`);
  const listener = (await scene.listen()).read();
  await eventually(() => listener.text.length > 16 * 1024 * 1024 && listener.text.includes('event: beat'));
});

test('what cannot be told is an error in the log, and told the next time', async () => {
  const scene = await start();
  const listener = (await scene.listen()).read();
  Object.defineProperty(scene, 'news', {
    configurable: true,
    get: () => {
      throw new Error('no news');
    },
  });
  await eventually(() => scene.errors.length > 0);
  Object.defineProperty(scene, 'news', { value: 'event: back\ndata: 1\n\n' });
  await eventually(() => listener.text.includes('event: back'));
});

test('stopping ends all', async () => {
  const scene = await start();
  const listeners = [(await scene.listen()).read(), (await scene.listen()).read()];
  scene.stream.stop();
  await eventually(() => listeners.every(({ closed }) => closed));
  expect(scene.stream.listeners).toBe(0);
});
