import {expect} from 'chai';
import {createHash} from 'node:crypto';
import {existsSync, readFileSync, readdirSync, writeFileSync} from 'node:fs';
import {createServer, type IncomingHttpHeaders, type Server, type ServerResponse} from 'node:http';
import type {AddressInfo} from 'node:net';
import {downloadFile, type DownloadOptions} from '../../../lib/language/import/download.js';
import {temporaryFolder} from '../../support/io/files.js';
import {rejection} from '../../support/rejection.js';

const BYTES = Uint8Array.from({length: 5000}, (_, i) => (i * 7) % 251);
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

describe('downloadFile', () => {
  const at = temporaryFolder();
  let server: Server;
  let url = '';
  /** Headers of the requests. */
  let asked: IncomingHttpHeaders[] = [];
  /** How the server answers: with ranges, without them, or not at all. */
  let ranges = true;
  let status = 200;
  let sent = BYTES;
  /** Sends no more than so many bytes. */
  let cutAfter = Infinity;
  /** The response that got no more. */
  let cut: ServerResponse | null = null;
  /** Ends the connection once those bytes have come: what lies between would be lost with it. */
  const cutOff = (bytes: number): void => {
    if (bytes >= cutAfter) cut?.destroy();
  };

  before(async () => {
    server = createServer((request, response) => {
      asked.push(request.headers);
      if (status !== 200) return void response.writeHead(status).end('<html>');
      const start = ranges ? Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0) : 0;
      response.writeHead(start > 0 ? 206 : 200);
      if (sent.length - start <= cutAfter) return void response.end(sent.subarray(start));
      cut = response;
      response.write(sent.subarray(start, start + cutAfter));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/m.gguf`;
  });
  after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  beforeEach(() => {
    asked = [];
    ranges = true;
    status = 200;
    sent = BYTES;
    cutAfter = Infinity;
  });

  const download = (change: Partial<DownloadOptions> = {}) =>
    downloadFile(url, at('m.gguf'), {size: BYTES.length, sha256: sha256(BYTES), version: 'v1', ...change});
  /** Where the part of a version lies. */
  const partOf = (version: string) =>
    at(`m.gguf.${createHash('sha256').update(version).digest('hex').slice(0, 16)}.partial`);
  const expectWhole = () => {
    expect(readFileSync(at('m.gguf')).equals(BYTES)).to.equal(true);
    expect(readdirSync(at())).to.deep.equal(['m.gguf']);
  };

  it('asks for the whole file once, tells how much came, and leaves nothing but the file', async () => {
    const seen: number[] = [];
    writeFileSync(at('m.gguf'), 'an older one');
    await download({onBytes: (bytes) => seen.push(bytes)});
    expectWhole();
    expect(asked).to.have.length(1);
    expect(asked[0]).to.not.have.any.keys('range', 'authorization');
    expect(seen.at(-1)).to.equal(5000);
    expect(seen).to.deep.equal([...seen].sort((a, b) => a - b));
  });

  it('goes on with what is there, with the token', async () => {
    const seen: number[] = [];
    writeFileSync(partOf('v1'), BYTES.subarray(0, 1200));
    await download({accessToken: 'hf_x', onBytes: (bytes) => seen.push(bytes)});
    expectWhole();
    expect(asked).to.have.length(1);
    expect(asked[0]).to.include({range: 'bytes=1200-', authorization: 'Bearer hf_x'});
    expect(Math.min(...seen)).to.be.above(1200);
  });

  it('starts anew where the server knows no ranges', async () => {
    ranges = false;
    writeFileSync(partOf('v1'), BYTES.subarray(0, 1200));
    await download();
    expectWhole();
  });

  it('starts anew with a part that is longer than the file', async () => {
    writeFileSync(partOf('v1'), new Uint8Array(5001));
    await download();
    expectWhole();
    expect(asked[0]).to.not.have.property('range');
  });

  it('asks for nothing where all is there', async () => {
    writeFileSync(partOf('v1'), BYTES);
    await download();
    expectWhole();
    expect(asked).to.deep.equal([]);
  });

  it('does not go on with a part of another version', async () => {
    writeFileSync(partOf('v0'), new Uint8Array(100));
    await download();
    expect(readFileSync(at('m.gguf')).equals(BYTES)).to.equal(true);
    expect(asked[0]).to.not.have.property('range');
  });

  it('makes an empty file', async () => {
    sent = new Uint8Array(0);
    await download({size: 0, sha256: sha256(sent)});
    expect(readFileSync(at('m.gguf'))).to.have.length(0);
  });

  it('checks no hash where none is known', async () => {
    sent = new Uint8Array(5000);
    await download({sha256: null});
    expect(readFileSync(at('m.gguf')).equals(sent)).to.equal(true);
  });

  it('says what was damaged, and throws the part away', async () => {
    sent = BYTES.map((byte, i) => (i === 4000 ? byte ^ 1 : byte));
    const error = await rejection(() => download(), 'checksum-mismatch');
    expect(error.message).to.equal(`${url} was damaged on the way: try again`);
    expect(error.data).to.deep.equal({url, path: at('m.gguf')});
    expect(readdirSync(at())).to.deep.equal([]);
  });

  it('keeps what came where the server ends too early', async () => {
    sent = BYTES.subarray(0, 3000);
    const error = await rejection(() => download(), 'download-failed');
    expect(error.message).to.equal(`${url} ended after 3000 of 5000 bytes: try again, it goes on from there`);
    expect(error.data).to.deep.equal({url, path: at('m.gguf')});
    expect(readFileSync(partOf('v1'))).to.have.length(3000);
    expect(existsSync(at('m.gguf'))).to.equal(false);
  });

  it('keeps what came where the connection breaks, and says why', async () => {
    cutAfter = 2000;
    const error = await rejection(() => download({onBytes: cutOff}), 'download-failed');
    expect(error.message).to.match(
      /^http:.*m\.gguf cannot be downloaded: .*(closed|terminated|reset).*; check the network and try again, it goes on from there$/,
    );
    expect(error.data).to.deep.equal({url});
    expect(error.cause).to.be.instanceOf(Error);
    expect(readFileSync(partOf('v1'))).to.have.length(2000);
  });

  for (const [what, prepare, reason] of [
    ['that the server has no such file', () => void (status = 404), 'the server answered 404'],
    ['that it sends more', () => void (sent = new Uint8Array(5001)), 'the server sends more than 5000 bytes'],
  ] as const) {
    it(`says ${what}`, async () => {
      prepare();
      const error = await rejection(() => download(), 'download-failed');
      expect(error.message).to.equal(
        `${url} cannot be downloaded: ${reason}; check the network and try again, it goes on from there`,
      );
      expect(error.data).to.deep.equal({url});
    });
  }

  it('says that there is no server', async () => {
    const path = at('m.gguf');
    const none = 'http://127.0.0.1:1/m';
    const error = await rejection(
      () => downloadFile(none, path, {size: 1, sha256: null, version: ''}),
      'download-failed',
    );
    expect(error.message).to.match(/cannot be downloaded: .*(ECONNREFUSED|bad port).*; check the network/);
  });

  it('stops on demand, and goes on from there', async () => {
    cutAfter = 2000;
    const controller = new AbortController();
    const error = await rejection(
      () => download({signal: controller.signal, onBytes: () => controller.abort()}),
      'interrupted',
    );
    expect(error.message).to.equal(`the download of ${url} was stopped; it goes on from there next time`);
    expect(error.data).to.deep.equal({url});
    const there = readFileSync(partOf('v1')).length;
    cutAfter = Infinity;
    await download();
    expectWhole();
    expect(asked[1]).to.include({range: `bytes=${there}-`});
  });

  it('says what the disk says', async () => {
    const options = {size: 5000, sha256: null, version: 'v1'};
    const error = await rejection(() => downloadFile(url, at('none/m.gguf'), options), 'missing-file');
    expect(error.message).to.include(at('none'));
  });
});
