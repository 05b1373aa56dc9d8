import { X509Certificate } from 'node:crypto';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { WatchedFile } from '../config/watched-file.ts';
import { WindlassError } from '../errors.ts';

export interface TlsFilesOptions {
  /** PEM files that are trusted beside the system's and Node's own. */
  readonly ca: readonly string[];
  readonly clientCert: string | undefined;
  readonly clientKey: string | undefined;
  readonly now: () => number;
}

/** Undefined: Node's default. */
export interface TlsMaterial {
  /** Without the client certificate: who we are is for the registry itself, not for where it redirects to. */
  readonly anonymous: SecureContext | undefined;
  readonly identified: SecureContext | undefined;
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

/** One registry's CAs and client certificate, read again when the files change. */
export class TlsFiles {
  readonly #ca: readonly WatchedFile<readonly string[]>[];
  readonly #cert: WatchedFile<Buffer> | undefined;
  readonly #key: WatchedFile<Buffer> | undefined;
  readonly #options: TlsFilesOptions;
  #current: { readonly material: TlsMaterial; readonly contents: readonly unknown[] } | undefined;

  constructor(options: TlsFilesOptions) {
    const { ca, clientCert, clientKey, now } = options;
    this.#options = options;
    this.#ca = ca.map(
      (path) => new WatchedFile({ path, what: 'CA file', code: 'UPSTREAM_UNAVAILABLE', parse: parseCertificates, now }),
    );
    this.#cert = clientCert === undefined ? undefined : pemFile(clientCert, 'client certificate', /CERTIFICATE/, now);
    this.#key = clientKey === undefined ? undefined : pemFile(clientKey, 'client key', /PRIVATE KEY/, now);
  }

  /** The same object as long as no file changed. @throws UPSTREAM_UNAVAILABLE, naming the file. */
  async read(): Promise<TlsMaterial> {
    const [cas, cert, key] = await Promise.all([
      Promise.all(this.#ca.map((file) => file.read())),
      this.#cert?.read(),
      this.#key?.read(),
    ]);
    const contents = [...cas, cert, key];
    const current = this.#current;
    if (current?.contents.every((content, index) => content === contents[index]) === true) return current.material;
    const material = this.#build(cas.flat(), cert, key);
    this.#current = { material, contents };
    return material;
  }

  #build(extra: readonly string[], cert: Buffer | undefined, key: Buffer | undefined): TlsMaterial {
    // Node's `ca` replaces the defaults; ours is in addition to them, as in docker's certs.d.
    const trust = extra.length === 0 ? {} : { ca: [...getCACertificates('default'), ...extra] };
    const anonymous = extra.length === 0 ? undefined : createSecureContext(trust);
    if (cert === undefined || key === undefined) return { anonymous, identified: anonymous };
    try {
      return { anonymous, identified: createSecureContext({ ...trust, cert, key }) };
    } catch (error) {
      const { clientCert, clientKey } = this.#options;
      const message = `client certificate ${clientCert} and key ${clientKey} cannot be used together`;
      throw new WindlassError('UPSTREAM_UNAVAILABLE', message, { cause: error });
    }
  }
}

function parseCertificates(contents: Buffer): readonly string[] {
  const certificates = contents.toString('latin1').match(CERTIFICATE) ?? [];
  if (certificates.length === 0) throw new Error('has no certificate in PEM form');
  for (const certificate of certificates) {
    try {
      new X509Certificate(certificate);
    } catch {
      throw new Error('has a certificate that cannot be read');
    }
  }
  return certificates;
}

function pemFile(path: string, what: string, label: RegExp, now: () => number): WatchedFile<Buffer> {
  const parse = (contents: Buffer): Buffer => {
    const begin = /-----BEGIN ([A-Z0-9 ]+)-----/.exec(contents.toString('latin1'));
    if (begin === null || !label.test(begin[1] ?? '')) throw new Error('is not in PEM form');
    return contents;
  };
  return new WatchedFile({ path, what, code: 'UPSTREAM_UNAVAILABLE', parse, now });
}
