import {createRequire} from 'node:module';
import {expect} from 'chai';
import type {InjectOptions} from 'fastify';
import {createServer, type Server} from '../../lib/serve/index.js';

const MODELS = [{name: 'm', path: '/nowhere/m'}];
const {version} = createRequire(import.meta.url)('../../package.json') as {version: string};

/** These servers are asked without a connection, and their workers end before they have started. */
describe('a server', function () {
  this.timeout(60_000);
  let server: Server;
  const make = async (options: Partial<Parameters<typeof createServer>[0]> = {}) => {
    server = await createServer({models: MODELS, pool: {backend: 'cpu'}, ...options});
  };
  afterEach(() => server.close());

  const ask = async (url: string, options: InjectOptions = {}) => {
    const {statusCode, headers, body} = await server.fastify.inject({
      ...{url, ...options},
      headers: {host: 'localhost', ...options.headers},
    });
    return {status: statusCode, headers, body};
  };
  const metric = async (name: string) => {
    const {body} = await ask('/metrics');
    return body.split('\n').filter((line) => line.startsWith(name));
  };

  it('lives before its models are loaded, and is not ready', async () => {
    await make();
    expect(await ask('/healthz')).to.deep.include({status: 200, body: '{"live":true}'});
    expect(await ask('/readyz')).to.deep.include({status: 503, body: '{"ready":false}'});
    expect(await ask('/v2/health/ready')).to.deep.include({status: 503, body: '{"ready":false}'});
    expect(JSON.parse((await ask('/v2')).body)).to.include({name: 'tfjs-sparsify', version});
    const predict = await ask('/v1/models/m:predict', {method: 'POST', payload: '{"instances": [[1]]}'});
    expect([predict.status, predict.headers['retry-after']]).to.deep.equal([503, '1']);
    const {body} = await ask('/status');
    expect(JSON.parse(body)).to.deep.include({version, ready: false});
  });

  it('has as many workers as it was told, each with its process', async () => {
    await make({pool: {workers: 2, backend: 'cpu'}});
    const pids = server.workerPids;
    expect(new Set(pids).size).to.equal(2);
    for (const pid of pids) expect(() => process.kill(pid, 0)).not.to.throw();
    const {headers} = await ask('/metrics');
    expect(headers['content-type']).to.equal('text/plain; version=0.0.4; charset=utf-8');
    const memory = await metric('sparsify_resident_memory_bytes');
    expect(memory).to.have.length(3);
    for (const pid of pids)
      expect(memory).to.include(`sparsify_resident_memory_bytes{process="worker",pid="${pid}"} 0`);
    await server.close();
    for (const pid of pids) expect(() => process.kill(pid, 0)).to.throw('ESRCH');
    expect(server.workerPids).to.deep.equal([]);
  });

  it('serves nothing else, and says what was asked for', async () => {
    await make();
    const unknown = await ask('/nothing?key=secret', {method: 'PUT'});
    expect(unknown.status).to.equal(404);
    expect(JSON.parse(unknown.body)).to.deep.equal({error: 'nothing is served at PUT /nothing'});
    const long = await ask(`/${'x'.repeat(300)}`);
    expect(JSON.parse(long.body)).to.deep.equal({error: `nothing is served at GET /${'x'.repeat(199)}`});
  });

  it('counts answers by protocol and status, and by no name that was made up', async () => {
    await make();
    const post = (url: string) => ask(url, {method: 'POST', payload: '{}'});
    for (const url of [
      '/v1/chat/completions',
      '/v1/completions?x',
      '/v1/models/other:predict',
      '/v2/models/other/infer',
      '/nothing',
    ])
      await post(url);
    await ask('/v1/models');
    await ask('/healthz');
    for (const url of ['/v1/completions/x', '/x/v1/completions', '/x/v1/models', '/x/v2/models/'])
      await ask(url);
    expect((await metric('sparsify_requests_total')).sort()).to.deep.equal(
      [
        'sparsify_requests_total{model="",protocol="openai",status="400"} 2',
        'sparsify_requests_total{model="",protocol="openai",status="200"} 1',
        'sparsify_requests_total{model="",protocol="tensorflow-serving",status="404"} 1',
        'sparsify_requests_total{model="",protocol="open-inference",status="404"} 1',
      ].sort(),
    );
    expect(await metric('sparsify_request_duration_seconds_count')).to.have.length(3);
    const [sum] = await metric('sparsify_request_duration_seconds_sum{model="",protocol="openai"}');
    expect(Number(sum.split(' ')[1])).to.be.within(1e-9, 30); // seconds
  });

  it('reads no bodies that are encoded', async () => {
    await make();
    const post = (encoding: string) =>
      ask('/v1/models/m:predict', {method: 'POST', payload: '{}', headers: {'content-encoding': encoding}});
    const gzip = await post('gzip');
    expect(gzip.status).to.equal(415);
    expect(JSON.parse(gzip.body)).to.deep.equal({error: 'bodies in gzip are not read: send them plain'});
    expect(JSON.parse((await post('x'.repeat(50))).body)).to.deep.equal({
      error: `bodies in ${'x'.repeat(40)} are not read: send them plain`,
    });
    expect((await post('identity')).status).to.equal(503);
  });

  it('keeps the connection of a body that is too large', async () => {
    await make({http: {bodyLimit: 10}});
    const options: InjectOptions = {method: 'POST', payload: 'x'.repeat(11)};
    const large = await ask('/v1/models/m:predict', options);
    expect([large.status, large.headers.connection]).to.deep.equal([413, undefined]); // fastify says close
    expect(JSON.parse(large.body)).to.deep.equal({error: 'the body is too large; at most 10 bytes are read'});
    expect((await ask('/v1/models/m:predict', {...options, payload: 'x'.repeat(10)})).status).to.equal(503);
  });

  it('asks for a key of everybody but probes and preflights, where it has one', async () => {
    await make({http: {apiKeys: ['secret'], cors: ['https://page.example']}});
    const key = {headers: {'x-api-key': 'secret'}};
    expect((await ask('/v1/models')).status).to.equal(401);
    expect((await ask('/v1/models', key)).status).to.equal(200);
    expect((await ask('/v1/models', {headers: {...key.headers, host: 'evil.example'}})).status).to.equal(200);
    expect((await ask('/healthz')).status).to.equal(200);
    const preflight = await ask('/v1/models', {
      method: 'OPTIONS',
      headers: {origin: 'https://page.example', 'access-control-request-method': 'GET'},
    });
    expect(preflight.status).to.equal(204);
    expect(preflight.headers['access-control-allow-origin']).to.equal('https://page.example');
  });

  it('answers its own names alone, where it has no key', async () => {
    await make({http: {allowedHosts: ['models.example']}});
    const status = async (host: string) => (await ask('/v1/models', {headers: {host}})).status;
    expect(await status('localhost:8501')).to.equal(200);
    expect(await status('models.example')).to.equal(200);
    expect(await status('evil.example')).to.equal(403);
    const page = await ask('/v1/models', {headers: {origin: 'https://page.example'}});
    expect([page.status, page.headers['access-control-allow-origin']]).to.deep.equal([403, undefined]);
  });

  for (const [cors, allowed] of [
    [['*'], '*'],
    [['https://a.example', '*'], '*'],
    [['HTTPS://Page.Example:443', 'https://b.example'], 'https://page.example'],
    [['https://b.example'], undefined],
  ] as const) {
    it(`lets pages of ${cors.join(' and ')} in`, async () => {
      await make({http: {cors}});
      const {status, headers} = await ask('/v1/models', {headers: {origin: 'https://page.example'}});
      expect(headers['access-control-allow-origin']).to.equal(allowed);
      expect(status).to.equal(allowed === undefined ? 403 : 200);
    });
  }

  it('takes names of models that are long', async () => {
    await make({models: [{name: 'm'.repeat(128), path: '/nowhere'}]});
    expect((await ask(`/v1/models/${'m'.repeat(128)}`)).status).to.equal(200);
    expect((await ask(`/v2/models/${'m'.repeat(128)}`)).status).to.equal(503);
    expect((await ask(`/v2/models/${'m'.repeat(400)}`)).status).to.equal(404);
    expect((await ask(`/v2/models/${'m'.repeat(600)}`)).status).to.equal(414);
  });

  it('is closed once, however often it is asked to be', async () => {
    await make();
    const closing = server.close();
    expect(server.close()).to.equal(closing);
    await closing;
  });
});
