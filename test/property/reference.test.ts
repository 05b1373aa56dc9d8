import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hasCode } from '../../src/errors.ts';
import { isRepository, isTag, parseRegistryHost, parseRepository, parseTag } from '../../src/oci/reference.ts';

const alphanumeric = fc.stringMatching(/^[a-z0-9]{1,6}$/);
const separator = fc.constantFrom('.', '_', '__', '-', '--', '---');
const component = fc
  .tuple(alphanumeric, fc.array(fc.tuple(separator, alphanumeric), { maxLength: 3 }))
  .map(([first, rest]) => first + rest.flat().join(''));
const repository = fc.array(component, { minLength: 1, maxLength: 6 }).map((parts) => parts.join('/'));

/** Characters that a grammar is most often wrong about. */
const tricky = fc.string({ unit: fc.constantFrom(...'aZ09._-/\\:%@?#[] \n\0é'), maxLength: 40 });

describe('references', () => {
  it('built by the grammar are taken as they are', () => {
    fc.assert(
      fc.property(repository, fc.stringMatching(/^\w[\w.-]{0,127}$/), (name, tag) => {
        expect(parseRepository(name)).toBe(name);
        expect(parseTag(tag)).toBe(tag);
      }),
    );
  });

  it('that are taken cannot leave a directory', () => {
    fc.assert(
      fc.property(fc.oneof(tricky, repository, fc.constant('..')), (text) => {
        if (isRepository(text)) {
          expect(path.posix.normalize(`/root/${text}`)).toBe(`/root/${text}`);
          expect(decodeURIComponent(text)).toBe(text);
        }
        if (isTag(text)) expect(path.posix.resolve('/root', text)).toBe(`/root/${text}`);
      }),
      { numRuns: 2000 },
    );
  });

  it('broken at one place are refused', () => {
    fc.assert(
      fc.property(repository, fc.nat(), fc.constantFrom(...'A\\:%@? \n\0é'), (name, at, wrong) => {
        const index = at % (name.length + 1);
        expect(isRepository(name.slice(0, index) + wrong + name.slice(index))).toBe(false);
      }),
    );
  });
});

describe('registry hosts', () => {
  const host = fc.oneof(
    fc.domain(),
    fc.ipV4(),
    fc.ipV6().map((address) => `[${address}]`),
  );

  it('that the URL standard knows are taken, and stay the same host', () => {
    fc.assert(
      fc.property(host, fc.option(fc.integer({ min: 1, max: 65_535 })), (name, port) => {
        const text = port === null ? name : `${name}:${port}`;
        const parsed = parseRegistryHost(text);
        expect(parsed).toBe(text.toLowerCase());
        expect(new URL(`https://${parsed}/`).host).toBe(new URL(`https://${text}/`).host);
      }),
    );
  });

  it('that are taken put nothing but a host and a port into a URL', () => {
    fc.assert(
      fc.property(tricky, (text) => {
        try {
          parseRegistryHost(text);
        } catch (error) {
          expect(hasCode(error, 'INVALID_NAME')).toBe(true);
          return;
        }
        if (!URL.canParse(`http://${text}/v2/`)) return; // 1.2.3.999 and the like: no URL, so no request
        const url = new URL(`http://${text}/v2/`);
        expect([url.pathname, url.username, url.search, url.hash]).toEqual(['/v2/', '', '', '']);
      }),
      { numRuns: 2000 },
    );
  });
});
