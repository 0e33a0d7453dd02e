import {expect} from 'chai';
import {deviceStore} from '../../../lib/io/web/device-store.js';
import {MemoryStore} from '../../../lib/io/web/piece-store.js';
import {STORE_CONTRACT, storeContract} from '../../support/io/store-contract.js';

describe('MemoryStore', () => {
  it('keeps, replaces, lists and deletes pieces', async () => {
    expect(await storeContract(new MemoryStore())).to.deep.equal(STORE_CONTRACT);
  });

  it('takes no more than its limit, where what is replaced does not count', async () => {
    const store = new MemoryStore(10);
    await store.write('a', '0', new Uint8Array(6));
    expect(await store.freeBytes()).to.equal(4);
    const error = await store.write('a', '1', new Uint8Array(5)).catch((caught: unknown) => caught);
    expect((error as DOMException).name).to.equal('QuotaExceededError');
    await store.write('a', '0', new Uint8Array(10));
    expect(await store.freeBytes()).to.equal(0);
    expect(await new MemoryStore().freeBytes()).to.equal(null);
  });

  it('is what a process without a storage of a browser has, one for all', async () => {
    const store = await deviceStore();
    expect(store.kind).to.equal('memory');
    expect(await deviceStore()).to.equal(store);
  });
});
