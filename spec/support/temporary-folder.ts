/** @file A folder for the files that a spec writes, removed after its suite. */
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';

/** Call it in a `describe`: it makes the folder before the tests and removes it after them. */
export function temporaryFolder(): {
  readonly path: string;
  write(name: string, content: string | Uint8Array): string;
} {
  let path = '';
  before(() => {
    path = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-spec-'));
  });
  after(() => rmSync(path, {recursive: true, force: true}));
  return {
    get path() {
      return path;
    },
    write(name, content) {
      writeFileSync(join(path, name), content);
      return join(path, name);
    },
  };
}
