#!/usr/bin/env node
// The package's bin. Old JavaScript on purpose: whatever Node runs it has to get as far as saying that it is too old.
var NEEDED_MAJOR = 24;

if (Number(process.versions.node.split('.')[0]) < NEEDED_MAJOR) {
  process.stderr.write(
    'windlass needs Node ' +
      NEEDED_MAJOR +
      ' or newer; this is ' +
      process.version +
      ': in a checkout run npm ci, then npm start or npm exec windlass\n',
  );
  process.exit(1);
}

// A checkout has the source beside this file; the package carries it compiled.
import('node:fs').then((fs) =>
  fs.existsSync(new URL('./main.ts', import.meta.url)) ? import('./main.ts') : import('../dist/main.js'),
);
