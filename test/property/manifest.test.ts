import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isDigest } from '../../src/oci/digest.ts';
import { isManifestMediaType, MEDIA_TYPES, readManifest } from '../../src/oci/manifest.ts';

const descriptor = fc.record({
  mediaType: fc.constantFrom('application/vnd.oci.image.layer.v1.tar+gzip', 'application/x'),
  digest: fc.stringMatching(/^sha256:[0-9a-f]{64}$/),
  size: fc.integer({ min: 1 }),
});
const encode = (json: unknown) => new TextEncoder().encode(JSON.stringify(json));

describe('manifests', () => {
  it('name exactly the descriptors that were put in, in order', () => {
    fc.assert(
      fc.property(descriptor, fc.array(descriptor), fc.boolean(), (config, layers, saysType) => {
        const type = saysType ? { mediaType: MEDIA_TYPES.dockerManifest } : {};
        const info = readManifest(encode({ schemaVersion: 2, ...type, config, layers }));
        expect(info?.mediaType).toBe(saysType ? MEDIA_TYPES.dockerManifest : MEDIA_TYPES.ociManifest);
        expect(info?.children).toEqual(
          [config, ...layers].map(({ mediaType, digest, size }) => ({ mediaType, digest, sizeBytes: size })),
        );
      }),
    );
  });

  it('whatever the JSON, nothing throws and every child is sound', () => {
    const hostile = fc.record(
      {
        schemaVersion: fc.oneof(fc.constant(2), fc.jsonValue()),
        mediaType: fc.oneof(fc.constantFrom(...Object.values(MEDIA_TYPES)), fc.jsonValue()),
        config: fc.oneof(descriptor, fc.jsonValue()),
        layers: fc.oneof(fc.array(fc.oneof(descriptor, fc.jsonValue())), fc.jsonValue()),
        manifests: fc.oneof(fc.array(fc.oneof(descriptor, fc.jsonValue())), fc.jsonValue()),
        blobs: fc.jsonValue(),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.oneof(hostile, fc.jsonValue()), (json) => {
        const info = readManifest(encode(json));
        if (info === undefined) return;
        // A header value: no control characters, no parameters.
        expect(info.mediaType).toMatch(/^[\w.+-]+\/[\w.+-]+$/);
        for (const child of info.children) {
          expect(isDigest(child.digest)).toBe(true);
          expect(Number.isSafeInteger(child.sizeBytes) && child.sizeBytes >= 0).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('cut anywhere are no manifests, and no bytes throw', () => {
    const whole = encode({ schemaVersion: 2, config: {}, layers: [], annotations: { a: 'é' } });
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.uint8Array(), (at, noise) => {
        expect(readManifest(whole.subarray(0, at))).toBeUndefined();
        readManifest(noise);
      }),
    );
  });

  it('are told by any Content-Type of the known ones, with any parameters', () => {
    fc.assert(
      fc.property(fc.constantFrom(...Object.values(MEDIA_TYPES)), fc.string(), (type, parameters) => {
        expect(isManifestMediaType(`${type};${parameters}`)).toBe(true);
        expect(isManifestMediaType(`x${type}`)).toBe(false);
      }),
    );
  });
});
