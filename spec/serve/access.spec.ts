import {request} from 'node:http';
import {connect} from 'node:net';
import {join} from 'node:path';
import {expect} from 'chai';
import Fastify from 'fastify';
import {createServer} from '../../lib/serve/index.js';
import {listen} from '../../lib/serve/listen.js';
import {checkServerOptions} from '../../lib/serve/server-options.js';
import {cli} from '../support/cli.js';
import {modelFolder, saveSumModel, serving, type Serving} from '../support/serving.js';

const MIB = 1024 ** 2;
const ROW = JSON.stringify({instances: [[1, 1, 1]]});

/** Tries to listen at a port too. */
async function listenBeside(port: number): Promise<string> {
  const fastify = Fastify();
  try {
    return await listen(fastify, {port});
  } finally {
    await fastify.close();
  }
}

/** Sends 100 MB until the answer comes, and gives its status. */
function pour(url: string, headers: Readonly<Record<string, string>>): Promise<number | undefined> {
  const key = {'x-api-key': 'first'};
  return new Promise((resolve, reject) => {
    const spaces = Buffer.alloc(MIB, ' ');
    let sent = 0;
    let isAnswered = false;
    const pouring = request(`${url}/v1/models/sum:predict`, {method: 'POST', headers: {...headers, ...key}});
    const write = () => {
      if (isAnswered || sent === 100 * MIB) return;
      sent += MIB;
      pouring.write(spaces, () => setImmediate(write));
    };
    pouring.on('response', ({statusCode}) => {
      isAnswered = true;
      pouring.destroy();
      resolve(statusCode);
    });
    pouring.on('error', (error) => isAnswered || reject(error));
    write();
  });
}

describe('access to the server', function () {
  this.timeout(120_000); // a worker takes seconds to start, and many times as long on a busy machine
  const folder = modelFolder();
  let served: Serving;
  before(async () => {
    await saveSumModel(join(folder.path, 'sum'), 1);
    served = await serving({
      models: [{name: 'sum', path: join(folder.path, 'sum')}],
      http: {
        ...{apiKeys: ['first', 'second'], bodyLimit: 1000, cors: ['https://page.example']},
        headersTimeoutMs: 1000,
      },
    });
  });
  after(() => served.server.close());

  const predict = (headers: Record<string, string>, body: unknown = {instances: [[1, 1, 1]]}) =>
    served.post('/v1/models/sum:predict', body, headers);

  const accepted: readonly Record<string, string>[] = [
    {authorization: 'Bearer first'},
    {authorization: 'bearer second'},
    {'x-api-key': 'second'},
  ];
  it('is not promised where something else listens', async () => {
    const port = Number(new URL(served.url).port);
    const second = await listenBeside(port).catch((error: unknown) => error);
    expect(second)
      .to.include({code: 'cannot-listen'})
      .and.have.property('message')
      .that.includes('another port');
  });

  for (const headers of accepted) {
    it(`is given to ${JSON.stringify(headers)}`, async () => {
      expect((await predict(headers)).status).to.equal(200);
    });
  }

  for (const headers of [
    {},
    {authorization: 'Bearer third'},
    {authorization: 'Basic first'},
    {authorization: 'Bearer firs'},
    {'x-api-key': ''},
  ]) {
    it(`is refused to ${JSON.stringify(headers)}`, async () => {
      const {status, headers: answered, json} = await predict(headers as Record<string, string>);
      expect(status).to.equal(401);
      expect(answered.get('www-authenticate')).to.equal('Bearer');
      expect(json).to.have.property('error').that.contains('API key');
    });
  }

  it('is refused in the form of each protocol', async () => {
    const {status, json} = await served.post('/v1/chat/completions', {});
    expect(status).to.equal(401);
    expect(json).to.have.nested.property('error.type', 'authentication_error');
    expect((await served.get('/metrics')).status).to.equal(401);
    expect((await served.get('/v2/models/sum')).status).to.equal(401);
  });

  it('needs no key for probes', async () => {
    for (const path of ['/healthz', '/readyz', '/v2/health/live', '/v2/health/ready']) {
      expect((await served.get(path)).status).to.equal(200);
    }
  });

  it('ends at the limit of a body', async () => {
    const {status, json} = await predict({'x-api-key': 'first'}, ' '.repeat(1001));
    expect(status).to.equal(413);
    expect(json).to.have.property('error');
  });

  for (const [what, headers] of [
    ['tells its length', {'content-length': String(100 * MIB)}],
    ['comes in chunks', {'transfer-encoding': 'chunked'}],
  ] as const) {
    it(`ends for a body of 100 MB that ${what}`, async () => {
      const before = process.memoryUsage().arrayBuffers;
      expect(await pour(served.url, headers)).to.equal(413);
      expect(process.memoryUsage().arrayBuffers - before).to.be.below(50 * MIB);
      expect((await served.get('/healthz')).status).to.equal(200);
    });
  }

  it('is refused to compressed bodies', async () => {
    const {status} = await predict({'x-api-key': 'first', 'content-encoding': 'gzip'});
    expect(status).to.equal(415);
  });

  it('is told to pages of the origins that were named', async () => {
    const {headers} = await predict({'x-api-key': 'first', origin: 'https://page.example'});
    expect(headers.get('access-control-allow-origin')).to.equal('https://page.example');
    const other = await predict({'x-api-key': 'first', origin: 'https://other.example'});
    expect(other.headers.get('access-control-allow-origin')).to.equal(null);
  });

  it('is taken from a client that sends its headers too slowly', async () => {
    const {port, hostname} = new URL(served.url);
    const socket = connect(Number(port), hostname);
    socket.write('GET /healthz HTTP/1.1\r\n');
    const drip = setInterval(() => socket.write('x: y\r\n'), 100);
    let answer = '';
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
    socket.on('error', () => undefined); // the last drip meets a closed connection
    await new Promise((resolve) => socket.on('close', resolve));
    clearInterval(drip);
    expect(answer).to.match(/^HTTP\/1.1 408 /);
  });
});

/** Asks with a `Host` of one's own, which fetch does not let one set. */
function askAs(
  url: string,
  headers: Readonly<Record<string, string>>,
  body = ROW,
): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const asking = request(`${url}/v1/models/sum:predict`, {method: 'POST', headers}, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    asking.on('error', reject).end(body);
  });
}

describe('access to a server without keys', function () {
  this.timeout(120_000); // a worker takes seconds to start, and many times as long on a busy machine
  const folder = modelFolder();
  const models = () => [{name: 'sum', path: join(folder.path, 'sum')}];
  const FORM = {'content-type': 'application/x-www-form-urlencoded'}; // what curl -d says
  let served: Serving;
  before(async () => {
    await saveSumModel(join(folder.path, 'sum'), 1);
    served = await serving({
      models: models(),
      http: {cors: ['HTTPS://Page.example/'], allowedHosts: ['models.example']},
    });
  });
  after(() => served.server.close());

  for (const [what, headers, status] of [
    ['curl -d', FORM, 200],
    ['a program that names no type', {}, 200],
    ['JSON', {'content-type': 'application/json; charset=utf-8'}, 200],
    ['a name that was allowed', {host: 'models.example:8501'}, 200],
    ['another name', {host: 'evil.example:8501'}, 403],
    ['another name, with its page', {host: 'evil.example', origin: 'http://evil.example', ...FORM}, 403],
    ['a page of another site', {origin: 'https://evil.example', ...FORM}, 403],
    ['a page that was named', {origin: 'https://page.example', ...FORM}, 200],
    ['text', {'content-type': 'text/plain;charset=UTF-8'}, 415],
    ['text that claims to be JSON', {'content-type': 'Text/Plain; application/json'}, 415],
    ['a form with files', {'content-type': 'multipart/form-data; boundary=x'}, 415],
  ] as const) {
    it(`is answered ${status} for ${what}`, async () =>
      expect(await askAs(served.url, headers)).to.equal(status));
  }

  it('is told to a page of an origin that was named, also when it asks whether it may', async () => {
    const origin = 'https://page.example';
    const {headers} = await served.get('/healthz', {origin});
    expect(headers.get('access-control-allow-origin')).to.equal(origin);
    const asked = {'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type'};
    const preflight = await fetch(`${served.url}/v1/models/sum:predict`, {
      method: 'OPTIONS',
      headers: {origin, ...asked},
    });
    expect(preflight.status).to.equal(204);
    expect(preflight.headers.get('access-control-allow-origin')).to.equal(origin);
  });

  it('is refused to a page of no name in the form of each protocol, and tells it nothing', async () => {
    const origin = 'https://evil.example';
    const chat = await served.post('/v1/chat/completions', {}, {origin});
    expect(chat.status).to.equal(403);
    expect(chat.json).to.have.nested.property('error.code', 'unknown_origin');
    const {status, headers, json} = await served.get('/v2/models/sum', {origin});
    expect(status).to.equal(403);
    expect(headers.get('access-control-allow-origin')).to.equal(null);
    expect(json).to.have.property('error').that.contains('https://evil.example').and.contains('--cors');
  });

  for (const host of ['0.0.0.0', '::', '']) {
    it(`is not opened at "${host}" to other machines`, async () => {
      const closed = await createServer({models: models(), pool: {backend: 'cpu'}});
      const error = await closed.listen({port: 0, host}).catch((error: unknown) => error);
      await closed.close();
      expect(error).to.include({code: 'bad-option'}).and.have.property('message').that.contains('--no-key');
    });
  }

  it('is opened to other machines with a key', async () => {
    const open = await createServer({models: models(), http: {apiKeys: ['key']}, pool: {backend: 'cpu'}});
    expect(await open.listen({port: 0, host: '0.0.0.0'})).to.match(/^http:/);
    await open.close();
  });

  it('is answered at every address, but to no other name, where it was opened', async () => {
    const open = await createServer({models: models(), http: {noKey: true}, pool: {backend: 'cpu'}});
    const {port} = new URL(await open.listen({port: 0, host: '0.0.0.0'}));
    await open.ready();
    const url = `http://127.0.0.1:${port}`;
    expect(await askAs(url, {host: `192.0.2.7:${port}`})).to.equal(200);
    expect(await askAs(url, {host: 'evil.example'})).to.equal(403);
    await open.close();
  });

  it('asks no Host and no Origin of who has a key', async () => {
    const keyed = await serving({models: models(), http: {apiKeys: ['key']}});
    const headers = {host: 'models.example', origin: 'https://other.example', 'x-api-key': 'key'};
    expect(await askAs(keyed.url, headers)).to.equal(200);
    await keyed.server.close();
  });

  for (const [what, http, text] of [
    ['keys that are not asked for', {noKey: true, apiKeys: ['key']}, 'noKey'],
    ['a host with a port', {allowedHosts: ['models.example:80']}, 'without port'],
    ['a host that is an URL', {allowedHosts: ['http://models.example']}, 'a name or an address'],
    ['an origin that is a name', {cors: ['page.example']}, 'https://page.example'],
    ['an origin with a path', {cors: ['https://page.example/chat']}, '"https://page.example/chat"'],
  ] as const) {
    it(`is refused with ${what}`, async () => {
      const error = await createServer({models: models(), http}).catch((error: unknown) => error);
      expect(error).to.include({code: 'bad-option'}).and.have.property('message').that.contains(text);
    });
  }

  it('takes an IPv6 address and * for hosts, and null for an origin', () => {
    const http = {allowedHosts: ['::1', '[::1]', '*'], cors: ['null', '*']};
    expect(() => checkServerOptions({models: models(), http})).not.to.throw();
  });

  it('ends at once with 2 on the command line, and takes --no-key beside the --key of https', async () => {
    const path = join(folder.path, 'sum');
    const refused = await cli(['serve', path, '--port', '0', '--host', '0.0.0.0']);
    expect(refused.code).to.equal(2);
    expect(refused.stderr).to.contain('--api-key KEY').and.contain('--no-key');
    const both = await cli(['serve', path, '--no-key', '--key', 'key.pem']);
    expect(both.stderr).to.contain('--cert and --key go together');
    const keyed = await cli(['serve', path, '--no-key'], {SPARSIFY_API_KEYS: 'one'});
    expect(keyed.code).to.equal(2);
    expect(keyed.stderr).to.contain('SPARSIFY_API_KEYS');
  });
});
