import { gzipSync } from 'node:zlib';
import { BLOB, MANIFEST } from './fake-content.ts';
import { fail, type Habit, type RegistryExchange } from './fake-registry.ts';

export type Kind = RegistryExchange['kind'];

/** Applies a habit to requests that fit. */
export const where =
  (fits: (exchange: RegistryExchange) => boolean, habit: Habit): Habit =>
  (exchange, next) => {
    if (fits(exchange)) habit(exchange, next);
    else next();
  };

export const onKind = (kind: Kind, habit: Habit): Habit => where((exchange) => exchange.kind === kind, habit);
export const onMethod = (method: string, habit: Habit): Habit =>
  where((exchange) => exchange.request.method === method, habit);

/** Only for the first `count` requests that reach it. */
export const times = (count: number, habit: Habit): Habit => {
  let left = count;
  return (exchange, next) => {
    left -= 1;
    if (left >= 0) habit(exchange, next);
    else next();
  };
};

export const answer =
  (status: number, headers: Readonly<Record<string, string>> = {}, body = ''): Habit =>
  ({ response }) => {
    response.writeHead(status, headers);
    response.end(body);
  };

export interface TokensOptions {
  /** Where the token server is; as it stands in the challenge. */
  readonly realm: string;
  readonly service?: string;
  /** The challenge names no scope. */
  readonly withoutScope?: boolean;
  /** `user:password` that may have tokens for repositories under private/. */
  readonly account?: string;
  readonly expiresIn?: number;
  /** Status of a POST. */
  readonly post?: number;
  readonly field?: 'token' | 'access_token';
  /** A token is good for so many requests. */
  readonly uses?: number;
}

/** Bearer tokens as the token specification has them, at a token server that is this server or another. */
export function tokens(options: TokensOptions): { readonly registry: Habit; readonly server: Habit; issued: number } {
  const left = new Map<string, number>();
  const { realm, service = 'fake-service', account, uses = Number.POSITIVE_INFINITY, field = 'token' } = options;
  const state = {
    issued: 0,
    registry: ((exchange, next) => {
      if (exchange.kind === 'token') return next();
      const { repository, request, response } = exchange;
      const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
      const key = `${token}|repository:${repository}:pull`;
      const rest = left.get(key) ?? 0;
      if (rest > 0) {
        left.set(key, rest - 1);
        return next();
      }
      const scope = options.withoutScope === true ? '' : `,scope="repository:${repository}:pull"`;
      response.setHeader('www-authenticate', `Bearer realm="${realm}",service="${service}"${scope}`);
      fail(response, 401, 'UNAUTHORIZED');
    }) as Habit,
    server: ((exchange, next) => {
      if (exchange.kind !== 'token') return next();
      const { request, response, logged } = exchange;
      if (request.method === 'POST') return fail(response, options.post ?? 405, 'UNSUPPORTED');
      const given = request.headers.authorization;
      const good = account !== undefined && given === `Basic ${Buffer.from(account).toString('base64')}`;
      if (given !== undefined && !good) return fail(response, 401, 'UNAUTHORIZED');
      const scopes = logged.query.getAll('scope');
      const wrongService = logged.query.get('service') !== service;
      if (wrongService || (!good && scopes.some((scope) => scope.startsWith('repository:private/')))) {
        return fail(response, 403, 'DENIED');
      }
      state.issued += 1;
      const token = `token-${state.issued}`;
      for (const scope of scopes) left.set(`${token}|${scope}`, uses);
      const body = { [field]: token, ...(options.expiresIn === undefined ? {} : { expires_in: options.expiresIn }) };
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(body));
    }) as Habit,
  };
  return state;
}

export const basicAuth =
  (account: string): Habit =>
  ({ request, response }, next) => {
    if (request.headers.authorization === `Basic ${Buffer.from(account).toString('base64')}`) return next();
    response.setHeader('www-authenticate', 'Basic realm="https://fake/",service="fake"');
    return fail(response, 401, 'UNAUTHORIZED');
  };

/** Blobs (or another kind) live elsewhere, under signed addresses. */
export const redirects =
  (kind: Kind, target: (exchange: RegistryExchange) => string, status = 307): Habit =>
  (exchange, next) => {
    if (exchange.kind !== kind) return next();
    exchange.response.writeHead(status, { location: target(exchange), 'content-type': 'text/html' });
    return void exchange.response.end('<a href="elsewhere">Temporary Redirect</a>.');
  };

export const signed =
  (storage: string) =>
  ({ reference }: RegistryExchange): string =>
    `${storage}/storage/${reference}?X-Signature=s3cr3t-signature`;

/** S3: a request that is authorised twice is answered with 400, one that is not signed with 403. */
export const objectStore: Habit = ({ request, response, logged }, next) => {
  if (request.headers.authorization !== undefined) return fail(response, 400, 'InvalidArgument');
  if (logged.query.get('X-Signature') !== 's3cr3t-signature') return fail(response, 403, 'AccessDenied');
  return next();
};

/** Signed for GET alone. */
export const getOnly: Habit = onMethod('HEAD', answer(403));
export const headNotAllowed: Habit = onMethod('HEAD', answer(405, { allow: 'GET' }));

export const withoutHeader =
  (name: string): Habit =>
  ({ response }, next) => {
    const setHeader = response.setHeader.bind(response);
    response.setHeader = (header, value) => (header.toLowerCase() === name ? response : setHeader(header, value));
    next();
  };

export const withHeader =
  (name: string, value: string): Habit =>
  ({ response }, next) => {
    response.setHeader(name, value);
    next();
  };

export const ignoresRange: Habit = ({ request }, next) => {
  delete request.headers.range;
  next();
};

export const refusesRange =
  (status: number): Habit =>
  (exchange, next) => {
    if (exchange.kind === 'blob' && exchange.request.headers.range !== undefined) fail(exchange.response, status, 'NO');
    else next();
  };

/** Compresses though identity was asked for. */
export const compresses: Habit = ({ kind, request, response }, next) => {
  if (request.method !== 'GET' || (kind !== 'blob' && kind !== 'manifest')) return next();
  const bytes = gzipSync(kind === 'blob' ? BLOB.bytes : MANIFEST.bytes);
  response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': bytes.byteLength });
  return void response.end(bytes);
};

export const webPage: Habit = answer(200, { 'content-type': 'text/html; charset=utf-8' }, '<html>Please log in</html>');

/** Sends `count` bytes of the blob with its whole length in the header, then does as told. */
export const sendsPart =
  (count: number, then: 'fin' | 'reset' | 'stall' | 'chunked-cut'): Habit =>
  ({ response }) => {
    if (then === 'chunked-cut') response.writeHead(200, { 'transfer-encoding': 'chunked' });
    else response.writeHead(200, { 'content-length': BLOB.bytes.byteLength });
    response.write(BLOB.bytes.subarray(0, count), () => {
      if (then === 'reset') response.socket?.resetAndDestroy();
      else if (then !== 'stall') response.socket?.end();
    });
  };
