import {readFileSync} from 'node:fs';
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import type {AddressInfo} from 'node:net';
import {gzipSync} from 'node:zlib';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {openHttpFile, redirectTarget} from '../../../lib/io/model/http-file.js';
import {openHttpModel} from '../../../lib/io/model/http-model.js';
import {loadLayersModel, saveLayersModel} from '../../../lib/io/model/model-files.js';
import {bareUrl, takeCredentials, withoutCredentials} from '../../../lib/io/files/url-credentials.js';
import {failure, temporaryFolder} from '../../support/io/files.js';
import {weightBytes} from '../../support/io/weight-bytes.js';

/** A request as a server saw it. */
interface Seen {
  readonly url: string;
  readonly authorization: string | undefined;
}

describe('a model on a web server', () => {
  const at = temporaryFolder();
  const servers: Server[] = [];
  let model: tf.Sequential;
  let json = '';
  let weights: Buffer;

  before(() => tf.setBackend('cpu'));
  beforeEach(async () => {
    model = tf.sequential({layers: [tf.layers.dense({units: 2, inputShape: [3]})]});
    await saveLayersModel(model, at());
    json = readFileSync(at('model.json'), 'utf8');
    const [name] = (JSON.parse(json) as {weightsManifest: {paths: string[]}[]}).weightsManifest[0].paths;
    weights = readFileSync(at(name));
    json = json.replace(name, 'w.bin');
  });
  afterEach(async () => {
    model.dispose();
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  });

  /** Starts a server; returns its address and what it is asked. */
  async function serve(listener: RequestListener): Promise<{url: string; seen: Seen[]}> {
    const seen: Seen[] = [];
    const server = createServer((request, response) => {
      seen.push({url: request.url ?? '', authorization: request.headers.authorization});
      listener(request, response);
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return {url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen};
  }

  /** Answers with the model.json, or the weights. */
  function answer(request: IncomingMessage, response: ServerResponse, text = json): void {
    const {pathname} = new URL(request.url ?? '', 'http://host');
    response.end(pathname.endsWith('.json') ? text : weights);
  }

  async function expectSame(url: string): Promise<void> {
    const loaded = await loadLayersModel(url);
    expect(weightBytes(loaded)).to.deep.equal(weightBytes(model));
    loaded.dispose();
  }

  for (const [what, path, query, asked] of [
    ['its own query, signed', 'w.bin?signature=a%2Fb&expires=1', '', 'w.bin?signature=a%2Fb&expires=1'],
    ["the query of the model.json's", 'w.bin', '?key=1&sig=x%3D', 'w.bin?key=1&sig=x%3D'],
    ['both', 'w.bin?v=2', '?sas=1&x=%20', 'w.bin?v=2&sas=1&x=%20'],
    ['its own where both have a name', 'w.bin?sig=own', '?sig=base&key=1', 'w.bin?sig=own&key=1'],
    ['its own in a folder', 'part/w.bin?s=1', '', 'part/w.bin?s=1'],
    ['no query where there is none', 'w.bin?', '?', 'w.bin'],
  ] as const) {
    it(`is asked for its weights with ${what}`, async () => {
      const {url, seen} = await serve((request, response) =>
        answer(request, response, json.replace('w.bin', path)),
      );
      await expectSame(`${url}/m/model.json${query}`);
      expect(seen.map(({url}) => url)).to.deep.equal([
        `/m/model.json${query === '?' ? '' : query}`,
        `/m/${asked}`,
      ]);
    });
  }

  it('is asked with the user and password of its address, which no error shows', async () => {
    const expected = `Basic ${Buffer.from('me:p@ss:ü').toString('base64')}`;
    let status = 200;
    const {url, seen} = await serve((request, response) => {
      if (request.headers.authorization !== expected) response.writeHead(401).end();
      else if (status !== 200) response.writeHead(status).end();
      else answer(request, response);
    });
    const withPassword = (password: string) => url.replace('//', `//me:${password}@`) + '/model.json';
    await expectSame(withPassword('p%40ss%3A%C3%BC'));
    expect(seen.map(({authorization}) => authorization)).to.deep.equal([expected, expected]);
    const wrong = await failure(loadLayersModel(withPassword('secret')));
    expect(wrong).to.include({code: 'http-status'});
    expect(wrong.message).to.include('user and password');
    status = 500;
    const broken = await failure(loadLayersModel(withPassword('p%40ss%3A%C3%BC')));
    for (const error of [wrong, broken])
      expect(error.message + JSON.stringify(error.data)).to.not.match(/secret|p%40ss|p@ss/);
    const unsupported = await failure(loadLayersModel('ftp://me:secret@host/model.json'));
    expect(unsupported.message + JSON.stringify(unsupported.data)).to.not.include('secret');
    const invalid = await failure(loadLayersModel('http://me:secret@host:port/model.json'));
    expect(invalid.code).to.equal('bad-option');
    expect(invalid.message + JSON.stringify(invalid.data)).to.not.include('secret');
  });

  it('may send to another host, which gets no password', async () => {
    const other = await serve(answer);
    const {url} = await serve((request, response) =>
      response.writeHead(302, {location: `${other.url}/elsewhere${request.url}`}).end(),
    );
    await expectSame(`${url.replace('//', '//me:secret@')}/model.json?k=1`);
    expect(other.seen).to.deep.equal([
      {url: '/elsewhere/model.json?k=1', authorization: undefined},
      {url: '/elsewhere/w.bin?k=1', authorization: undefined},
    ]);
  });

  it('keeps the password for itself where it sends to itself', async () => {
    const {url, seen} = await serve((request, response) => {
      if (request.url?.startsWith('/old')) response.writeHead(308, {location: request.url.slice(4)}).end();
      else answer(request, response);
    });
    await expectSame(`${url.replace('//', '//me:secret@')}/old/model.json`);
    expect(seen.filter(({authorization}) => authorization === undefined)).to.deep.equal([]);
    expect(seen).to.have.length(4);
  });

  for (const [what, location] of [
    ['what is no address', 'http://'],
    ['a file', 'file:///etc/passwd'],
    ['itself, for ever', '/model.json'],
  ]) {
    it(`is refused where it redirects to ${what}`, async () => {
      const {url, seen} = await serve((_, response) => response.writeHead(301, {location}).end());
      expect((await failure(loadLayersModel(`${url}/model.json`))).code).to.equal('unsafe-redirect');
      expect(seen.length).to.be.at.most(21);
    });
  }

  it('is given up when it does not answer, and when it stops in the middle', async () => {
    const limits = {silenceMs: 100};
    const mute = await serve(() => undefined);
    const error = await failure(openHttpModel(`${mute.url}/model.json`, limits));
    expect(error).to.include({code: 'unreachable'});
    expect(error.message).to.include('nothing came for 0.1 s');
    const halting = await serve((_, response) => void response.write(json.slice(0, 20)));
    expect((await failure(openHttpModel(`${halting.url}/model.json`, limits))).message).to.include(
      'nothing came',
    );
  });

  it('is read no further than a model.json may be long, and the connection is let go', async () => {
    let closed: Promise<unknown> = Promise.resolve();
    const endless = await serve((_, response) => {
      closed = new Promise((resolve) => response.on('close', resolve));
      response.write(' '.repeat(2001));
    });
    const error = await failure(openHttpModel(`${endless.url}/model.json`, {maxJsonBytes: 2000}));
    expect(error).to.include({code: 'too-large'});
    expect(error.message).to.include('2000 bytes');
    await closed;
    const {url} = await serve(answer);
    await openHttpModel(`${url}/model.json`, {maxJsonBytes: json.length});
    expect(
      (await failure(openHttpModel(`${url}/model.json`, {maxJsonBytes: json.length - 1}))).code,
    ).to.equal('too-large');
  });

  it('gives its bytes in pieces of any size, and is let go when it is closed', async () => {
    let closed: Promise<unknown> = Promise.resolve();
    const {url} = await serve((_, response) => {
      closed = new Promise((resolve) => response.on('close', resolve));
      response.write(Uint8Array.from({length: 50}, (__, i) => i));
    });
    const file = await openHttpFile(`${url}/w.bin`);
    const got: number[] = [];
    for (const size of [1, 7, 3, 30, 9]) {
      const target = new Uint8Array(size);
      const read = await file.read(target);
      got.push(...target.subarray(0, read));
    }
    expect(got).to.deep.equal(Array.from({length: 50}, (_, i) => i));
    await file.close();
    await closed;
  });

  it('is read as long as something comes', async () => {
    const slow = await serve((_, response) => {
      let sent = 0;
      const step = Math.ceil(json.length / 8);
      const timer = setInterval(() => {
        response.write(json.slice(sent, (sent += step)));
        if (sent < json.length) return;
        clearInterval(timer);
        response.end();
      }, 60);
    });
    const source = await openHttpModel(`${slow.url}/model.json`, {silenceMs: 400}); // 480 ms and more in all
    expect(source.json.weightsManifest[0].paths).to.deep.equal(['w.bin']);
  });

  it('may pack what it sends, and mark its byte order', async () => {
    const {url} = await serve((request, response) => {
      if (!request.url?.endsWith('.json')) return void response.end(weights);
      response.writeHead(200, {'content-encoding': 'gzip'}).end(gzipSync(`\ufeff${json}`));
    });
    await expectSame(`${url}/model.json`);
  });
});

describe('a redirect', () => {
  const to = (from: string, location: string, count = 1) =>
    redirectTarget('https://a/m', new URL(from), location, count);

  it('may lead to another place, host or encryption, without the password that it names', () => {
    expect(to('https://a/m/model.json', '../n/model.json?x=1').href).to.equal('https://a/n/model.json?x=1');
    expect(to('http://a/m', 'https://b/m').href).to.equal('https://b/m');
    expect(to('http://a/m', 'http://me:secret@b/m').href).to.equal('http://b/m');
    expect(to('https://a/m', '//b/m', 20).href).to.equal('https://b/m');
  });

  for (const [what, from, location, count] of [
    ['away from encryption', 'https://a/m', 'http://a/m', 1],
    ['to a file', 'https://a/m', 'file:///etc/passwd', 1],
    ['to nothing', 'https://a/m', 'https://', 1],
    ['a twenty-first time', 'https://a/m', 'https://a/n', 21],
  ] as const) {
    it(`does not lead ${what}`, () => {
      expect(() => to(from, location, count))
        .to.throw()
        .with.property('code', 'unsafe-redirect');
    });
  }
});

describe('user and password in a URL', () => {
  it('become a header', () => {
    expect(takeCredentials('https://a:b@h/m.json?x=1')).to.deep.equal({
      url: 'https://h/m.json?x=1',
      authorization: `Basic ${Buffer.from('a:b').toString('base64')}`,
    });
    expect(takeCredentials('https://:b%25@h/').authorization).to.equal(
      `Basic ${Buffer.from(':b%').toString('base64')}`,
    );
    expect(takeCredentials('https://h/m@x.json')).to.deep.equal({
      url: 'https://h/m@x.json',
      authorization: null,
    });
  });

  it('are not shown in a text', () => {
    expect(withoutCredentials('loading https://a:b@h/m.json and http://c@d/e')).to.equal(
      'loading https://***@h/m.json and http://***@d/e',
    );
    for (const text of ['https://h/m@x.json', 'a@b.c', 'https://h/?mail=a@b', '/tmp/a:b@c'])
      expect(withoutCredentials(text)).to.equal(text);
    expect(withoutCredentials('http://a:p@ss@h/')).to.equal('http://***@h/');
  });

  it('are no part of what a URL names, nor is its query', () => {
    expect(bareUrl('https://a:b@h:1/x/model.json?key=1#y')).to.equal('https://h:1/x/model.json');
    expect(bareUrl('models/x?y')).to.equal('models/x?y');
  });
});
