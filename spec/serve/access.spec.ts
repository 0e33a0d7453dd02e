import {request} from 'node:http';
import {connect} from 'node:net';
import {join} from 'node:path';
import {expect} from 'chai';
import Fastify from 'fastify';
import {listen} from '../../lib/serve/listen.js';
import {modelFolder, saveSumModel, serving, type Serving} from './serving.js';

const MIB = 1024 ** 2;

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

describe('access to the server', () => {
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

  it('has no origin where none was named', async () => {
    const closed = await serving({models: [{name: 'sum', path: join(folder.path, 'sum')}]}, false);
    const {headers} = await closed.get('/healthz', {origin: 'https://page.example'});
    expect(headers.get('access-control-allow-origin')).to.equal(null);
    await closed.server.close();
  });
});
