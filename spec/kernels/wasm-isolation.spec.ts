import {expect} from 'chai';
import {singleThreadReason} from '../../lib/kernels/wasm/isolation.js';

describe('why a page has one thread', () => {
  const isolated = {crossOriginIsolated: true, isSecureContext: true, SharedArrayBuffer};

  it('is nothing where it may have more', () => {
    expect(singleThreadReason(isolated)).to.equal(null);
  });

  it('is that it came over http, which no header helps', () => {
    const reason = singleThreadReason({...isolated, isSecureContext: false, crossOriginIsolated: false});
    expect(reason).to.include('https').and.not.include('Cross-Origin');
  });

  it('is that it is not isolated, with both headers and the way without', () => {
    const reason = singleThreadReason({
      ...isolated,
      crossOriginIsolated: false,
      SharedArrayBuffer: undefined,
    });
    expect(reason)
      .to.include('Cross-Origin-Opener-Policy: same-origin')
      .and.include('Cross-Origin-Embedder-Policy: require-corp')
      .and.include('cross-origin-isolation.js');
  });

  it('is the browser otherwise', () => {
    expect(singleThreadReason({...isolated, SharedArrayBuffer: undefined})).to.include('SharedArrayBuffer');
  });
});
