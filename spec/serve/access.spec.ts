import {connect} from 'node:net';
import {join} from 'node:path';
import {expect} from 'chai';
import {modelFolder, saveSumModel, serving, type Serving} from './serving.js';

describe('access to the server', () => {
  const folder = modelFolder();
  let served: Serving;
  before(async () => {
    await saveSumModel(join(folder.path, 'sum'), 1);
    served = await serving({
      models: [{name: 'sum', path: join(folder.path, 'sum')}],
      http: {apiKeys: ['first', 'second'], bodyLimit: 1000, cors: ['https://page.example']},
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

  it('is taken from a client that sends its headers too slowly', async function () {
    this.timeout(30_000);
    const {port, hostname} = new URL(served.url);
    const socket = connect(Number(port), hostname);
    socket.write('GET /healthz HTTP/1.1\r\n');
    const drip = setInterval(() => socket.write('x: y\r\n'), 500);
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
