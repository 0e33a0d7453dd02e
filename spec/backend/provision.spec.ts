import {expect} from 'chai';
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {provision} from '../../lib/backend/provision.js';
import {BackendError} from '../../lib/errors.js';

describe('provision', () => {
  const {TFJS_SPARSIFY_PROVISION} = process.env;
  let packageFolder: string;
  beforeEach(() => {
    packageFolder = mkdtempSync(join(tmpdir(), 'provision-spec-'));
    process.env.TFJS_SPARSIFY_PROVISION = 'off';
  });
  afterEach(() => {
    rmSync(packageFolder, {recursive: true});
    if (TFJS_SPARSIFY_PROVISION === undefined) delete process.env.TFJS_SPARSIFY_PROVISION;
    else process.env.TFJS_SPARSIFY_PROVISION = TFJS_SPARSIFY_PROVISION;
  });

  it('throws what is missing and what would help', async () => {
    const error: unknown = await provision({packageFolder}).catch((e: unknown) => e);
    expect(error).to.be.instanceOf(BackendError).with.property('code', 'provisioning-failed');
    expect(error).to.have.property('message').that.contains('native part is missing');
    expect(error).to.have.nested.property('data.help').that.contains('npx tfjs-sparsify provision');
  });
});
