/** @file The server of `npm run web`, and the options of that script. */
import {spawn} from 'node:child_process';
import {mkdirSync, mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {request} from 'node:http';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {expect} from 'chai';
import {servePage, type ServedPage} from '../../scripts/web/serve-page.js';
import {ROOT} from '../support/guides.js';
import {finished, quietly} from '../support/child.js';

/** Asks with the path as it is written; fetch would tidy it. */
function raw(page: ServedPage, path: string, method = 'GET'): Promise<number> {
  const {port} = new URL(page.url);
  return new Promise((resolve, reject) => {
    request({host: '127.0.0.1', port, path, method}, (response) => {
      response.resume();
      resolve(response.statusCode!);
    })
      .on('error', reject)
      .end();
  });
}

describe('the server of the page', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-serve-'));
  let page: ServedPage;

  before(async () => {
    mkdirSync(join(folder, 'page'));
    writeFileSync(join(folder, 'secret.txt'), 'outside');
    writeFileSync(join(folder, 'page-2'), 'outside too');
    writeFileSync(join(folder, 'page', 'index.html'), '<!doctype html>');
    writeFileSync(join(folder, 'page', 'weights.bin'), '0123456789');
    writeFileSync(join(folder, 'page', 'code.wasm'), '');
    page = await servePage(join(folder, 'page'), 0);
  });
  after(async () => {
    await page.close();
    rmSync(folder, {recursive: true});
  });
  const get = (path: string, headers: Record<string, string> = {}) => fetch(page.url + path, {headers});

  it('listens on loopback alone', () => {
    expect(page.url).to.match(/^http:\/\/127\.0\.0\.1:\d+\/$/);
    expect(page.server.address()).to.include({address: '127.0.0.1'});
  });

  it('gives files with their types, and the headers for threads', async () => {
    const index = await get('');
    expect([index.status, index.headers.get('content-type'), await index.text()]).to.deep.equal([
      ...[200, 'text/html; charset=utf-8', '<!doctype html>'],
    ]);
    expect(index.headers.get('cross-origin-opener-policy')).to.equal('same-origin');
    expect(index.headers.get('cross-origin-embedder-policy')).to.equal('require-corp');
    const wasm = await get('code.wasm');
    expect([wasm.headers.get('content-type'), await wasm.text()]).to.deep.equal(['application/wasm', '']);
  });

  for (const [range, status, content, contentRange] of [
    ['bytes=2-4', 206, '234', 'bytes 2-4/10'],
    ['bytes=7-', 206, '789', 'bytes 7-9/10'],
    ['bytes=-3', 206, '789', 'bytes 7-9/10'],
    ['bytes=8-99', 206, '89', 'bytes 8-9/10'],
    ['bytes=10-', 416, '', 'bytes */10'],
    ['bytes=4-2', 416, '', 'bytes */10'],
    ['bytes=0-1,4-5', 200, '0123456789', null],
    ['lines=1-2', 200, '0123456789', null],
  ] as const) {
    it(`answers the range ${range} with ${status}`, async () => {
      const response = await get('weights.bin', {Range: range});
      expect([response.status, await response.text(), response.headers.get('content-range')]).to.deep.equal([
        ...[status, content, contentRange],
      ]);
    });
  }

  it('goes on with a file only as long as it is the same', async () => {
    const etag = (await get('weights.bin')).headers.get('etag')!;
    const same = await get('weights.bin', {Range: 'bytes=8-', 'If-Range': etag});
    expect([same.status, await same.text()]).to.deep.equal([206, '89']);
    const other = await get('weights.bin', {Range: 'bytes=8-', 'If-Range': '"older"'});
    expect([other.status, await other.text()]).to.deep.equal([200, '0123456789']);
    expect((await get('weights.bin', {'If-None-Match': etag})).status).to.equal(304);
  });

  it('gives nothing that lies outside', async () => {
    for (const path of [
      '/../secret.txt',
      '/%2e%2e/secret.txt',
      '/..%2fsecret.txt',
      '/../page-2',
      '/x',
      '/%zz',
      '/a%00',
    ]) {
      expect(await raw(page, path), path).to.equal(404);
    }
  });

  it('only gives', async () => {
    expect(await raw(page, '/', 'POST')).to.equal(405);
    expect(await raw(page, '/weights.bin', 'HEAD')).to.equal(200);
  });

  it('says that a port is taken', async () => {
    const error = await servePage(folder, Number(new URL(page.url).port)).catch((cause: unknown) => cause);
    expect(error).to.include({code: 'EADDRINUSE'});
  });
});

describe('npm run web', () => {
  const web = (...args: string[]) =>
    finished(
      spawn(process.execPath, ['--import', 'tsx', join(ROOT, 'scripts', 'web.ts'), ...args], {
        cwd: ROOT,
        env: quietly(),
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    );

  it('has its options in --help', async () => {
    const {code, stdout} = await web('--help');
    expect(code).to.equal(0);
    for (const option of ['--port', '--model', '--allow', '--build']) expect(stdout).to.include(option);
  });

  for (const [args, text] of [
    [['--port', '70000'], '--port is 70000; it must be a whole number from 0 to 65535'],
    [['--allow', 'example.org'], '--allow is example.org; it must be an origin'],
    [['--model', '/nowhere'], '--model is /nowhere, which holds no model.json'],
  ] as const) {
    it(`refuses ${args.join(' ')}`, async () => {
      const {code, stderr} = await web(...args);
      expect(code).to.equal(2);
      expect(stderr).to.include(text);
    });
  }
});
