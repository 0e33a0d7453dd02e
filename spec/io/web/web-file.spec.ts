import {createHash} from 'node:crypto';
import {expect} from 'chai';
import {PIECE_BYTES} from '../../../lib/io/web/cached-entry.js';
import {MemoryStore, type PieceStore} from '../../../lib/io/web/piece-store.js';
import {WebFile, type WebFileOptions} from '../../../lib/io/web/web-file.js';
import {rangeServer, type RangeServer} from '../../support/io/range-server.js';
import {rejection} from '../../support/rejection.js';

/** 2 whole pieces and a part of a third. */
const SIZE = 2 * PIECE_BYTES + 1000;
const ZERO = 'a'.repeat(64);

/** Bytes that are different at every place of every piece. */
function content(seed: number, size = SIZE): Uint8Array {
  const words = new Uint32Array(Math.ceil(size / 4));
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + 1, 2654435761) ^ seed;
  return new Uint8Array(words.buffer, 0, size);
}

const sha256Of = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

describe('a file behind a URL', () => {
  const bytes = content(1);
  const other = content(2);
  let server: RangeServer;
  let store: MemoryStore;
  let url: string;
  let notices: string[];
  let counted: {downloaded: number; cached: number};

  beforeEach(async () => {
    server = await rangeServer({'/model.gguf': bytes});
    url = `${server.url}/model.gguf`;
    store = new MemoryStore();
    notices = [];
    counted = {downloaded: 0, cached: 0};
  });
  afterEach(() => server.close());

  const open = (more: Partial<WebFileOptions> = {}, to = url) =>
    WebFile.open(to, {
      store,
      model: url,
      retryMs: 1,
      onNotice: (text) => notices.push(text),
      onBytes: (count, isFromCache) => (counted[isFromCache ? 'cached' : 'downloaded'] += count),
      ...more,
    });

  /** Opens, completes, reads all of it and closes. */
  async function load(more: Partial<WebFileOptions> = {}): Promise<Buffer> {
    const file = await open(more);
    try {
      await file.complete();
      return Buffer.from(await file.read(0, file.size, 'all of it'));
    } finally {
      await file.close();
    }
  }

  /** A storage in which something happens before a piece is written. */
  const withWrites = (before: (name: string) => void): PieceStore =>
    Object.assign(Object.create(store) as MemoryStore, {
      write: async (entry: string, name: string, piece: Uint8Array<ArrayBuffer>) => {
        before(name);
        await store.write(entry, name, piece);
      },
    });

  const expectSame = (found: Uint8Array, wanted: Uint8Array = bytes) =>
    expect(Buffer.compare(found, wanted), 'the bytes').to.equal(0);

  it('is downloaded once, counted, and read from the storage afterwards without its server', async () => {
    expectSame(await load());
    expect(counted).to.deep.equal({downloaded: SIZE, cached: 0});
    await server.close();
    counted = {downloaded: 0, cached: 0};
    expectSame(await load());
    expect(counted).to.deep.equal({downloaded: 0, cached: SIZE});
    expect(notices).to.deep.equal([]);
  });

  it('is read at any place, over the edges of pieces too, and not beyond its end', async () => {
    const file = await open();
    for (const [position, length] of [
      [PIECE_BYTES - 10, 20],
      [5, 1],
      [SIZE - 7, 7],
      [0, 0],
    ]) {
      expectSame(await file.read(position, length, 'a part'), bytes.subarray(position, position + length));
    }
    const error = await rejection(() => file.read(SIZE - 7, 8, 'the end'), 'truncated');
    expect(error.data).to.deep.equal({path: url, size: SIZE, needed: SIZE + 1, what: 'the end'});
    await file.close();
  });

  it('downloads no more than the piece that is read before it is completed', async () => {
    const file = await open();
    server.sentBytes = 0;
    await file.read(100, 10, 'the header');
    expect(server.sentBytes).to.equal(PIECE_BYTES);
    expect(file.missingBytes).to.equal(SIZE - PIECE_BYTES);
    await file.close();
  });

  it('goes on after an abort with the pieces that are there, of the same state only', async () => {
    const stop = new AbortController();
    const aborted = await load({
      signal: stop.signal,
      store: withWrites((name) => name === '1' && stop.abort(new Error('stopped'))),
    }).catch((error: unknown) => error);
    expect((aborted as Error).message).to.equal('stopped');
    server.seen.length = 0;
    counted = {downloaded: 0, cached: 0};
    expectSame(await load());
    const stored = PIECE_BYTES * (counted.cached / PIECE_BYTES);
    expect(stored).to.be.oneOf([PIECE_BYTES, 2 * PIECE_BYTES]);
    expect(counted.downloaded).to.equal(SIZE - stored);
    for (const {range, ifRange} of server.seen) {
      expect(range).to.equal(`bytes=${stored}-`);
      expect(ifRange).to.match(/^"[0-9a-f]{40}"$/);
    }
  });

  it('does not count a piece that a tab left half written', async () => {
    const first = await open();
    await first.read(0, 10, 'the header');
    await first.close();
    const [entry] = await store.entries();
    await store.write(entry, '1', new Uint8Array(100));
    await store.write(entry, '2.crswap', new Uint8Array(100)); // a browser's own, beside the file that is written
    counted = {downloaded: 0, cached: 0};
    expectSame(await load());
    expect(counted).to.deep.equal({downloaded: SIZE - PIECE_BYTES, cached: PIECE_BYTES});
    expect(notices).to.deep.equal([]);
  });

  it('goes on by itself when the connection is lost', async () => {
    server.habits.cut = {bytes: PIECE_BYTES + 100, times: 3};
    expectSame(await load());
    const last = server.seen.at(-1)!;
    expect(last.range).to.equal(`bytes=${2 * PIECE_BYTES}-`);
    expect(counted).to.deep.equal({downloaded: SIZE, cached: 0});
  });

  it('gives up when the connection is lost again and again without a byte, and goes on the next time', async () => {
    const file = await open();
    server.habits.cut = {bytes: 10, times: Infinity};
    const error = await rejection(() => file.complete(), 'unreachable');
    expect(error.message).to.contain(url).and.to.contain('check the address and the network');
    await file.close();
    server.habits = {};
    expectSame(await load());
  });

  it('takes ranges that are shorter than asked for', async () => {
    server.habits.mostBytes = PIECE_BYTES + 5;
    expectSame(await load());
  });

  for (const [what, habits] of [
    ['an ETag', {}],
    ['a date alone', {etag: null, lastModified: 'Mon, 30 Nov 2026 00:00:00 GMT'}],
  ] as const) {
    it(`never mixes two states that ${what} tells apart`, async () => {
      server.habits = {...habits};
      const file = await open();
      await file.read(0, 10, 'the header');
      await file.close();
      server.files.set('/model.gguf', other);
      if ('lastModified' in habits) server.habits.lastModified = 'Mon, 30 Nov 2026 00:00:01 GMT';
      expectSame(await load(), other);
      expect(notices).to.deep.equal([
        `${url} has changed since a part of it was downloaded: it is downloaded anew`,
      ]);
    });
  }

  it('is an error, and deleted, when it changes while it is open', async () => {
    const file = await open();
    await file.read(0, 10, 'the header');
    server.files.set('/model.gguf', other);
    const error = await rejection(() => file.complete(), 'changed');
    expect(error.message).to.contain('load it again');
    await file.close();
    expect(await store.entries()).to.deep.equal([]);
    expectSame(await load(), other);
  });

  it('starts anew where the server says nothing of the state, or a weak tag', async () => {
    for (const etag of [null, 'W/"1"']) {
      store = new MemoryStore();
      notices = [];
      server.habits = {etag};
      const file = await open();
      await file.read(0, 10, 'the header');
      await file.close();
      server.files.set('/model.gguf', other);
      expectSame(await load(), other);
      expect(notices[0]).to.contain('does not say whether it has changed');
      server.files.set('/model.gguf', bytes);
    }
  });

  for (const [what, habits] of [
    ['no ranges', {noRanges: true}],
    ['no length', {noRanges: true, noLength: true}],
    ['ranges without length', {noLength: true}],
    ['ranges that begin elsewhere', {wrongRange: true}],
    ['compressed answers', {gzip: true}],
  ] as const) {
    it(`takes servers with ${what}`, async () => {
      server.habits = {...habits};
      const file = await open();
      expectSame(
        await file.read(PIECE_BYTES + 3, 10, 'a part'),
        bytes.subarray(PIECE_BYTES + 3, PIECE_BYTES + 13),
      );
      await file.close();
      expectSame(await load());
      await server.close();
      expectSame(await load());
    });
  }

  it('takes an empty file', async () => {
    server.files.set('/model.gguf', new Uint8Array(0));
    expectSame(await load(), new Uint8Array(0));
  });

  it('starts a compressed download anew when it was broken off, since it has no ranges', async () => {
    server.habits = {gzip: true};
    const stop = new AbortController();
    await open({
      signal: stop.signal,
      store: withWrites((name) => name === '1' && stop.abort(new Error('stopped'))),
    }).catch(() => undefined);
    counted = {downloaded: 0, cached: 0};
    expectSame(await load());
    expect(counted).to.deep.equal({downloaded: SIZE, cached: 0});
  });

  for (const [status, code, said] of [
    [404, 'missing-file', 'answered 404 Not Found: check the address'],
    [410, 'missing-file', 'answered 410'],
    [403, 'http-status', 'a signed address that has expired'],
    [401, 'http-status', 'https://USER:PASSWORD@HOST/'],
    [206, 'bad-range', 'its server is not set up right'],
    [416, 'http-status', ''],
    [503, 'server-busy', 'try again later'],
  ] as const) {
    it(`says what to do when the server answers ${status}, and keeps nothing`, async () => {
      server.habits.fails = {status, times: Infinity};
      const error = await rejection(open, status === 416 ? 'bad-range' : code);
      expect(error.message).to.contain(url);
      expect(error.message).to.contain(said);
      expect(await store.entries()).to.deep.equal([]);
    });
  }

  it('tries again when the server is busy', async () => {
    server.habits.fails = {status: 503, times: 2};
    expectSame(await load());
  });

  it('takes no web page for a file', async () => {
    server.habits.fails = {status: 200, times: 1, contentType: 'text/html; charset=utf-8'};
    const error = await rejection(open, 'missing-file');
    expect(error.message).to.contain('answered with a web page');
  });

  it('gives up a server that says nothing', async () => {
    server.habits.before = () => new Promise(() => undefined);
    const error = await rejection(() => open({silenceMs: 30}), 'unreachable');
    expect(error.message).to.contain('nothing came for 0.03 s');
  });

  it('sends what authorizes it', async () => {
    await load({authorization: 'Basic dTpw'});
    for (const {authorization} of server.seen) expect(authorization).to.equal('Basic dTpw');
  });

  it('is held against the checksum that it must have, and not kept if it has another', async () => {
    expectSame(await load({sha256: sha256Of(bytes)}));
    expectSame(await load({sha256: sha256Of(bytes)}));
    expect(notices).to.deep.equal([]);
    server.files.set('/model.gguf', other);
    expectSame(await load({sha256: sha256Of(other)}), other);
    expect(notices).to.deep.equal([`what is stored of ${url} has another checksum: it is downloaded again`]);
    const error = await rejection(() => load({sha256: ZERO}), 'checksum-mismatch');
    expect(error.data).to.deep.equal({url, found: sha256Of(other), expected: ZERO});
    expect(await store.entries()).to.deep.equal([]);
  });

  it('is held against a checksum that comes when it is stored already', async () => {
    await load();
    server.seen.length = 0;
    expectSame(await load({sha256: sha256Of(bytes)}));
    expect(server.seen).to.deep.equal([]);
    await rejection(() => load({sha256: ZERO}), 'checksum-mismatch');
    expect(await store.entries()).to.deep.equal([]);
  });

  it('checksums what was downloaded in two parts', async () => {
    const file = await open();
    await file.read(PIECE_BYTES, 10, 'the middle');
    await file.close();
    expectSame(await load({sha256: sha256Of(bytes)}));
  });

  for (const [what, damage] of [
    ['a bit that flipped', (piece: Uint8Array) => (piece[77] ^= 1) && piece],
    ['a piece that was cut off', (piece: Uint8Array) => piece.slice(0, -1)],
    ['a piece that is empty', () => new Uint8Array(0)],
    ['a piece that is gone', () => null],
  ] as const) {
    it(`finds ${what} in the storage, says so and fetches that piece again`, async () => {
      await load();
      const [entry] = await store.entries();
      const damaged = damage((await store.read(entry, '1'))!) as Uint8Array<ArrayBuffer> | null;
      if (damaged === null) await store.remove(entry, '1');
      else await store.write(entry, '1', damaged);
      server.seen.length = 0;
      expectSame(await load());
      expect(server.seen.map(({range}) => range)).to.deep.equal([
        `bytes=${PIECE_BYTES}-${2 * PIECE_BYTES - 1}`,
      ]);
      expect(notices).to.deep.equal([
        `a part of ${url} in the cache is missing or damaged: it is downloaded again`,
      ]);
      await server.close();
      expectSame(await load());
    });
  }

  it('puts no piece of a new state beside stored ones', async () => {
    await load();
    const [entry] = await store.entries();
    await store.remove(entry, '1');
    server.files.set('/model.gguf', other);
    await rejection(load, 'changed');
    expectSame(await load(), other);
  });

  for (const [what, damaged] of [
    ['cut off', '{"version":1,"url":'],
    ['of another release', '{"version":0}'],
    ['of something else', 'null'],
  ]) {
    it(`starts anew when the description is ${what}`, async () => {
      await load();
      const [entry] = await store.entries();
      await store.write(entry, 'entry.json', new TextEncoder().encode(damaged));
      counted = {downloaded: 0, cached: 0};
      expectSame(await load());
      expect(counted).to.deep.equal({downloaded: SIZE, cached: 0});
    });
  }

  it('is never taken for whole before its description says so', async () => {
    const file = await open();
    await file.read(0, 10, 'the header');
    await file.read(PIECE_BYTES, 10, 'the middle');
    await file.close();
    await server.close();
    await rejection(open, 'unreachable');
  });

  it('asks whether it has changed if it is to be refreshed, and is used when nobody answers', async () => {
    await load();
    server.seen.length = 0;
    expectSame(await load({refresh: true}));
    expect(server.seen.map(({range}) => range)).to.deep.equal(['bytes=0-0']);
    server.files.set('/model.gguf', other);
    expectSame(await load(), bytes);
    expectSame(await load({refresh: true}), other);
    expect(notices).to.deep.equal([`${url} has changed since it was stored: it is downloaded again`]);
    await server.close();
    notices = [];
    expectSame(await load({refresh: true}), other);
    expect(notices[0]).to.contain('what is stored is used');
  });

  it('is downloaded once when two ask for it at the same time', async () => {
    const both = await Promise.all([load(), load()]);
    for (const each of both) expectSame(each);
    expect(counted).to.deep.equal({downloaded: SIZE, cached: SIZE});
    expect(notices).to.deep.equal([`${url} is being downloaded by another tab or call: waiting for it`]);
  });

  it('is gone on with by another when the first stops', async () => {
    const first = await open();
    await first.read(0, 10, 'the header');
    const second = load();
    await first.close();
    expectSame(await second);
    expect(counted).to.deep.equal({downloaded: SIZE, cached: PIECE_BYTES});
  });

  it('stops waiting for another when it is aborted', async () => {
    const first = await open();
    const stop = new AbortController();
    const waiting = open({signal: stop.signal}).catch((error: unknown) => error);
    await new Promise((resolve) => setTimeout(resolve, 5));
    stop.abort(new Error('enough'));
    expect(((await waiting) as Error).message).to.equal('enough');
    await first.close();
    expectSame(await load());
  });

  it('says how full the storage is, and goes on when there is room', async () => {
    store = new MemoryStore(PIECE_BYTES + 5000);
    const error = await rejection(load, 'storage-full');
    expect(error.message).to.contain('delete stored models that are not needed (deleteCachedModel)');
    expect(error.data['free']).to.be.within(0, 5000);
  });
});
