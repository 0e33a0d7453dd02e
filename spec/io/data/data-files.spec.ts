import {expect} from 'chai';
import {openDataFile} from '../../../lib/io/data/data-files.js';
import {failure} from '../../support/io/files.js';

describe('openDataFile', () => {
  it('rejects an extension that it does not know, at once', async () => {
    expect((await failure(() => openDataFile('data.csv'))).code).to.equal('unsupported-format');
  });

  for (const batchSize of [0, -1, 1.5, NaN]) {
    it(`rejects a batch size of ${batchSize}`, async () => {
      expect((await failure(() => openDataFile('data.npy', {batchSize}))).code).to.equal('bad-option');
    });
  }
});
