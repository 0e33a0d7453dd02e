import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {serveCommand} from '../../lib/cli/commands/serve.js';
import '../support/backends.js';
import {saveSumModel} from '../support/serving.js';
import {runCommand} from '../support/run-command.js';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

describe('serve, run in this process', function () {
  this.timeout(120_000);
  let folder = '';
  let backend = '';
  let listeners: NodeJS.SignalsListener[][];
  const at = (name: string) => join(folder, name);
  before(async () => {
    backend = tf.getBackend();
    await tf.setBackend('cpu');
    folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-serve-'));
    await saveSumModel(at('versions/1'), 1);
    await saveSumModel(at('versions/2'), 2);
    await saveSumModel(at('my model'), 3);
  });
  after(async () => {
    rmSync(folder, {recursive: true});
    await tf.setBackend(backend);
  });
  beforeEach(() => (listeners = SIGNALS.map((name) => process.listeners(name))));
  afterEach(() => {
    delete process.env.SPARSIFY_API_KEYS;
    for (const [i, name] of SIGNALS.entries())
      for (const listener of process.listeners(name))
        if (!listeners[i].includes(listener)) process.off(name, listener);
  });

  /** Serves until `work` is done with its address, then ends it by a signal; gives what was said on stderr. */
  const serving = async (args: readonly string[], work: (url: string) => Promise<void>): Promise<string> => {
    const running = runCommand(serveCommand(), [...args, '--port', '0', '--log-level', 'silent']);
    const write = console.error; // which is the run's own, and keeps what it gets
    const address = new Promise<string>((resolve) => {
      let url = '';
      console.error = (text: string) => {
        write(text);
        url ||= /^listening at (http:\S+)$/.exec(text)?.[1] ?? '';
        if (text === 'ready') resolve(url);
      };
    });
    const failed: unknown[] = [];
    await Promise.race([address.then(work), running]).catch((error: unknown) => failed.push(error));
    process.emit('SIGTERM', 'SIGTERM');
    const {error, stderr} = await running;
    if (failed.length > 0) throw failed[0];
    expect(error).to.equal(null);
    return stderr;
  };

  it('serves models under their names, versions and labels, to those with a key', async () => {
    process.env.SPARSIFY_API_KEYS = ' one,two\n';
    const models = [`given=${at('my model')}`, join(at('my model'), 'model.json'), at('versions')];
    const args = [...models, '--all-versions', '--label', 'versions:stable=1', '--label', 'versions:next=2'];
    const more = [
      '--api-key',
      'three',
      '--api-key',
      'four',
      '--body-limit',
      '1',
      '--cors',
      'https://page.example',
    ];
    const stderr = await serving([...args, ...more], async (url) => {
      const ask = async (path: string, key: string, init: RequestInit = {}) =>
        fetch(url + path, {
          ...init,
          headers: {'x-api-key': key, 'content-type': 'application/json', ...init.headers},
        });
      for (const [key, status] of [
        ['one', 200],
        ['two', 200],
        ['three', 200],
        ['four', 200],
        ['', 401],
        ['five', 401],
      ] as const)
        expect((await ask('/v1/models', key)).status, key).to.equal(status);
      const {data} = (await (await ask('/v1/models', 'one')).json()) as {data: {id: string}[]};
      expect(data.map(({id}) => id)).to.deep.equal(['given', 'my_model', 'versions']);
      const body = JSON.stringify({instances: [[1, 2, 3]]});
      for (const [path, sum] of [
        ['given', 18],
        ['my_model', 18],
        ['versions', 12],
        ['versions/versions/1', 6],
        ['versions/labels/stable', 6],
        ['versions/labels/next', 12],
      ] as const) {
        const answer = await ask(`/v1/models/${path}:predict`, 'one', {method: 'POST', body});
        expect(await answer.json(), path).to.deep.equal({predictions: [[sum]]});
      }
      const large = await ask('/v1/models/given:predict', 'one', {
        method: 'POST',
        body: ' '.repeat(2 ** 20 + 1),
      });
      expect(large.status).to.equal(413);
      const origin = {headers: {origin: 'https://page.example'}};
      expect((await ask('/v1/models', 'one', origin)).headers.get('access-control-allow-origin')).to.equal(
        'https://page.example',
      );
    });
    expect(stderr).to.match(/^listening at http:\/\/127\.0\.0\.1:\d+\nready\n$/);
  });

  for (const [what, args, text] of [
    [
      'a certificate without its key',
      ['x', '--cert', 'c.pem'],
      '--cert and --key go together: give both, or neither',
    ],
    ['a key without its certificate', ['x', '--key', 'k.pem'], '--cert and --key go together'],
    ['two models of one name', ['a/model.json', 'b=c', 'a'], 'the name of two models is a'],
    [
      'two models of a file and a URL of one name',
      ['x/m.gguf', 'https://me:pw@host/v/m.json?k=1'],
      'the name of two models is m',
    ],
    ['a name that no URL can have', ['=x'], 'the name of a model is'],
    ['a key of no length', ['x', '--api-key', ''], 'an API key is empty'],
    ['an origin that is none', ['x', '--cors', 'page'], 'an origin is "page"'],
    ['a host with a port', ['x', '--allow-host', 'a:80'], 'an allowed host is "a:80"'],
    ['keys beside none', ['x', '--no-key', '--api-key', 'k'], 'noKey is true beside API keys'],
  ] as const) {
    it(`refuses ${what}`, async () => {
      const {error} = await runCommand(serveCommand(), args);
      expect(error).to.have.property('code', 'bad-option');
      expect(error!.message).to.contain(text);
    });
  }

  it('refuses other machines without a key, and ends its workers', async () => {
    const {error} = await runCommand(serveCommand(), [at('my model'), '--host', '0.0.0.0', '--port', '0']);
    expect(error).to.have.property('code', 'bad-option');
    expect(error!.message).to.contain('--no-key');
  });

  it('reads the certificate that it is given', async () => {
    writeFileSync(at('key.pem'), 'x');
    const {error} = await runCommand(serveCommand(), ['x', '--key', at('key.pem'), '--cert', at('none.pem')]);
    expect(error).to.have.property('code', 'ENOENT');
  });
});
