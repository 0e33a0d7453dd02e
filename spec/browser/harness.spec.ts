/** @file What the specs in a browser stand on: the server of pages with its faults, and calls into a page and a worker. */
import {expect} from 'chai';
import {inBrowser} from '../support/browser/in-browser.js';
import type * as Probe from './pages/probe.js';

const PROBE = 'spec/browser/pages/probe.ts';
const BYTES = Uint8Array.from({length: 1000}, (_, i) => i % 251);

/** What a call into the page ends with, which must be an error. */
async function failureOf(call: Promise<unknown>): Promise<string> {
  const value = await call.catch((error: Error) => error);
  expect(value, 'nothing was thrown').to.be.instanceOf(Error);
  return (value as Error).message;
}

describe('a page of the specs', () => {
  const pages = inBrowser();
  const probe = pages.in<typeof Probe>(PROBE);
  before(() => pages.site.put('/file.bin', BYTES));
  afterEach(() => pages.site.fail('/file.bin', undefined));

  it('is cross-origin isolated, in the page and in a worker', async () => {
    expect(await probe.isIsolated()).to.equal(true);
    expect(await pages.inWorker<typeof Probe>(PROBE).isIsolated()).to.equal(true);
  });

  it('gives what a function returns, and throws what it throws', async () => {
    expect(await probe.sum([1, 2, 4])).to.equal(7);
    expect(await failureOf(probe.fail('as asked'))).to.include('as asked');
    const inWorker = pages.inWorker<typeof Probe>(PROBE);
    expect(await inWorker.sum([1, 2, 4])).to.equal(7);
    expect(await failureOf(inWorker.fail('as asked'))).to.include('as asked');
  });

  it('tells what the page reports as an error', async () => {
    await probe.report('something is wrong');
    expect(pages.takeErrors().join()).to.include('something is wrong');
  });

  it('gets a file whole and by ranges, with its type', async () => {
    expect(await probe.read('/file.bin')).to.deep.equal({
      status: 200,
      type: 'application/octet-stream',
      bytes: [...BYTES],
    });
    const {status, bytes} = await probe.read('/file.bin', 'bytes=990-');
    expect({status, bytes}).to.deep.equal({status: 206, bytes: [...BYTES.subarray(990)]});
    expect((await probe.read('/file.bin', 'bytes=3-4')).bytes).to.deep.equal([3, 4]);
    expect((await probe.read('/file.bin', 'bytes=-1')).bytes).to.deep.equal([BYTES[999]]);
    expect(pages.site.requests.at(-1)).to.deep.equal({method: 'GET', path: '/file.bin', range: 'bytes=-1'});
    expect((await probe.read('/file.bin', 'bytes=1000-')).status).to.equal(416);
    expect((await probe.read('/missing')).status).to.equal(404);
    pages.takeErrors(); // Chromium tells of the last two itself.
  });

  it('gets faults as they are switched on', async () => {
    pages.site.fail('/file.bin', {kind: 'wrong-byte', at: 12});
    const wrong = await probe.read('/file.bin', 'bytes=10-14');
    expect(wrong.bytes).to.deep.equal([10, 11, 12 ^ 0xff, 13, 14]);
    pages.site.fail('/file.bin', {kind: 'slow', pieceBytes: 400, pauseMs: 1});
    expect((await probe.read('/file.bin')).bytes).to.deep.equal([...BYTES]);
    pages.site.fail('/file.bin', {kind: 'abort', afterBytes: 500});
    await failureOf(probe.read('/file.bin'));
    pages.site.fail('/file.bin', {kind: 'status', status: 503});
    expect((await probe.read('/file.bin')).status).to.equal(503);
    pages.site.offline = true;
    await failureOf(probe.read('/file.bin'));
    pages.site.offline = false;
    pages.site.fail('/file.bin', undefined);
    expect((await probe.read('/file.bin')).status).to.equal(200);
    expect(pages.takeErrors()).to.have.lengthOf(3);
  });
});

describe('a page of the specs without the headers of isolation', () => {
  const pages = inBrowser({isolated: false});

  it('has no memory that threads share', async () => {
    expect(await pages.in<typeof Probe>(PROBE).isIsolated()).to.equal(false);
  });
});

describe('a page of the specs in Firefox', () => {
  const pages = inBrowser({browser: 'firefox'});
  const probe = pages.in<typeof Probe>(PROBE);

  it('runs functions in the page and in a worker, and tells of errors', async () => {
    expect(await probe.isIsolated()).to.equal(true);
    expect(await pages.inWorker<typeof Probe>(PROBE).sum([1, 2, 4])).to.equal(7);
    await probe.report('something is wrong');
    expect(pages.takeErrors().join()).to.include('something is wrong');
  });
});
