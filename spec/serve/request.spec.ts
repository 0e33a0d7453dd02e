import {EventEmitter} from 'node:events';
import {request} from 'node:http';
import {connect, type AddressInfo} from 'node:net';
import {expect} from 'chai';
import Fastify, {type FastifyReply} from 'fastify';
import {Type} from 'typebox';
import {readBodies} from '../../lib/serve/bodies.js';
import {ServeError} from '../../lib/serve/http-errors.js';
import {checker, clientSignal, errorHandler, parseJson, plainError} from '../../lib/serve/request.js';

describe('the JSON of a body', () => {
  it('is parsed, in UTF-8', () => {
    expect(parseJson(Buffer.from('{"a": "é"}'))).to.deep.equal({a: 'é'});
  });

  for (const [what, body, code, text] of [
    ['there is none', undefined, 'bad-request', 'the body is empty'],
    ['it is empty', Buffer.alloc(0), 'bad-request', 'the body is empty'],
    ['it is torn', Buffer.from('{"a":'), 'malformed-json', 'no JSON'],
    ['it costs too much', Buffer.from('['.repeat(70_000)), 'bad-request', 'nested more than'],
  ] as const) {
    it(`is refused where ${what}`, () => {
      expect(() => parseJson(body))
        .to.throw(text)
        .with.property('code', code);
    });
  }
});

describe('the envelope of a request', () => {
  const check = checker(
    Type.Object({
      a: Type.Integer({description: 'a whole number'}),
      b: Type.Optional(Type.Union([Type.Null(), Type.Array(Type.String({minLength: 1}))])),
    }),
  );

  it('is given back as it is, with what else it has', () => {
    const body = {a: 1, b: ['x'], c: {}};
    expect(check(body)).to.equal(body);
  });

  for (const [body, text, field] of [
    [{a: 1.5}, 'a is 1.5; a must be a whole number', 'a'],
    [{a: 1, b: ['x', '']}, 'b.1 must not have fewer than 1 characters', 'b.1'],
    [{a: 1, b: 5}, 'b must be', 'b'],
    [{}, 'the body must have required properties a', undefined],
    [[], 'the body must be object', undefined],
  ] as const) {
    it(`is refused by the name of the field in ${JSON.stringify(body)}`, () => {
      expect(() => check(body))
        .to.throw(text)
        .with.property('field', field);
    });
  }
});

describe('what a client is told of an error', () => {
  const answered = async (thrown: unknown) => {
    const fastify = Fastify();
    fastify.setErrorHandler(errorHandler(plainError));
    fastify.get('/', () => {
      throw thrown;
    });
    const {statusCode, headers, body} = await fastify.inject('/');
    return {status: statusCode, headers, json: JSON.parse(body) as {error: string}};
  };

  it('is the text and status of ours, when to ask again, and how to show a key', async () => {
    const {status, headers, json} = await answered(new ServeError(503, 'busy', 'ask later', 7));
    expect([status, headers['retry-after'], json.error]).to.deep.equal([503, '7', 'ask later']);
    expect(headers['content-type']).to.contain('application/json');
    expect(headers).not.to.have.property('www-authenticate');
    expect((await answered(new ServeError(401, 'key', 'no'))).headers).to.include({
      'www-authenticate': 'Bearer',
    });
    expect((await answered(new ServeError(400, 'x', 'no'))).headers).not.to.have.property('retry-after');
  });

  it("is that of fastify's own refusals, and nothing of what failed within", async () => {
    for (const [statusCode, status, text] of [
      [400, 400, 'secret'],
      [499, 499, 'secret'],
      [500, 500, 'its log says more'],
      [399, 500, 'its log says more'],
      [undefined, 500, 'its log says more'],
    ] as const) {
      const {status: got, json} = await answered(Object.assign(new Error('secret'), {statusCode}));
      expect(got).to.equal(status);
      expect(json.error).to.contain(text);
      if (text !== 'secret') expect(json.error).not.to.contain('secret');
    }
  });
});

describe('the signal of a client', () => {
  const closing = (writableFinished: boolean) => {
    const raw = Object.assign(new EventEmitter(), {writableFinished});
    const signal = clientSignal({raw} as unknown as FastifyReply);
    expect(signal.aborted).to.equal(false);
    raw.emit('close');
    return signal.aborted;
  };

  it('comes when the connection closes before the answer is out, and only then', () => {
    expect(closing(false)).to.equal(true);
    expect(closing(true)).to.equal(false);
  });
});

describe('bodies', () => {
  const LIMIT = 600_000;
  /** A server that tells the length of a body, the sum of its bytes, and where it lies. */
  const telling = () => {
    const fastify = Fastify({bodyLimit: LIMIT});
    const memories = new Set<ArrayBufferLike>();
    fastify.removeAllContentTypeParsers();
    readBodies(fastify, LIMIT);
    fastify.setErrorHandler(errorHandler(plainError));
    fastify.post('/', ({body}) => {
      const bytes = body as Buffer;
      if (bytes.length > 4096) memories.add(bytes.buffer);
      return {
        length: bytes.length,
        sum: bytes.reduce((sum, byte) => sum + byte, 0),
        offset: bytes.byteOffset % 8,
      };
    });
    return {fastify, memories};
  };
  const post = async (fastify: ReturnType<typeof telling>['fastify'], body: Buffer, headers = {}) => {
    const {statusCode, body: text} = await fastify.inject({method: 'POST', url: '/', payload: body, headers});
    return {status: statusCode, json: JSON.parse(text) as {length: number; sum: number; offset: number}};
  };

  /** Sends a body in pieces over a connection, in chunks unless its length is told. */
  const sendPieces = (
    fastify: ReturnType<typeof telling>['fastify'],
    pieces: readonly Buffer[],
    length?: number,
  ): Promise<{status: number | undefined; text: string}> =>
    new Promise((resolve, reject) => {
      const {port} = fastify.server.address() as AddressInfo;
      const headers = length === undefined ? {} : {'content-length': length};
      const sending = request({port, method: 'POST', headers}, (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk.toString()));
        response.on('end', () => resolve({status: response.statusCode, text}));
      });
      sending.on('error', reject);
      for (const piece of pieces) sending.write(piece);
      sending.end();
    });

  for (const length of [1, 4096, 4097, 300_000, 512 * 1024, 512 * 1024 + 1, LIMIT]) {
    it(`of ${length} bytes are read whole, one after the other in the same memory if they fit in it`, async () => {
      const {fastify, memories} = telling();
      for (const byte of [1, 2]) {
        const {json} = await post(fastify, Buffer.alloc(length, byte));
        expect(json).to.include({length, sum: length * byte});
      }
      expect(memories.size).to.equal(length <= 4096 ? 0 : length <= 512 * 1024 ? 1 : 2);
    });
  }

  it('that come in pieces are put together, with and without a length', async () => {
    const {fastify} = telling();
    await fastify.listen({port: 0});
    for (const length of [undefined, 300_000]) {
      const pieces = [1, 2, 3].map((byte) => Buffer.alloc(100_000, byte));
      const {status, text} = await sendPieces(fastify, pieces, length);
      expect(status).to.equal(200);
      expect(JSON.parse(text)).to.include({length: 300_000, sum: 600_000});
    }
    await fastify.close();
  });

  for (const length of [9000, 3000]) {
    it(`that break off after ${length / 2} of ${length} bytes are an error, and nobody computes with them`, async () => {
      const {fastify} = telling();
      const refused = new Promise<unknown>((resolve) => {
        fastify.setErrorHandler((error, _request, reply) => {
          resolve(error);
          return reply.code(400).send();
        });
      });
      await fastify.listen({port: 0});
      const {port} = fastify.server.address() as AddressInfo;
      const socket = connect(port, '127.0.0.1');
      const head = `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n`;
      socket.write(head + 'x'.repeat(length / 2));
      setTimeout(() => socket.destroy(), 100);
      const error = await refused;
      expect(error).to.include({status: 400, code: 'body-broken-off'});
      expect(error).to.have.property('message').that.contains('the body broke off: ');
      await fastify.close();
    });
  }

  it('of a type that is not read are refused by what the header says', async () => {
    const {fastify} = telling();
    const refused = new Promise<unknown>((resolve) => {
      fastify.setErrorHandler((error, _request, reply) => {
        resolve(error);
        return reply.code(415).send();
      });
    });
    await fastify.inject({
      method: 'POST',
      url: '/',
      payload: 'x',
      headers: {'content-type': 'text/plain; x=y'},
    });
    const error = await refused;
    expect(error).to.include({status: 415, code: 'content-type'});
    expect(error).to.have.property('message').that.contains('text/plain are not read: send application/json');
  });

  it('of more bytes than the limit are refused', async () => {
    const {fastify} = telling();
    const {status, json} = await post(fastify, Buffer.alloc(LIMIT + 1));
    expect(status).to.equal(413);
    expect(json).to.deep.equal({error: `the body is too large; at most ${LIMIT} bytes are read`});
    await fastify.listen({port: 0});
    const whole = [1, 2, 3, 4].map((byte) => Buffer.alloc(LIMIT / 4, byte));
    expect((await sendPieces(fastify, whole)).status).to.equal(200);
    expect((await sendPieces(fastify, [...whole, Buffer.alloc(1)])).status).to.equal(413);
    await fastify.close();
  });

  for (const text of ['0', '-5', '1.5', 'x', '16']) {
    it(`lie at a multiple of 8 where ${text} bytes of JSON are announced`, async () => {
      const {fastify} = telling();
      const {json} = await post(fastify, Buffer.alloc(5000), {'inference-header-content-length': text});
      expect(json.offset).to.equal(0);
    });
  }

  it('of many requests at a time lie apart, and in the memory of sixteen afterwards', async () => {
    const {fastify, memories} = telling();
    const rush = () =>
      Promise.all(Array.from({length: 20}, (_, i) => post(fastify, Buffer.alloc(5000, i + 1))));
    for (const [i, {json}] of (await rush()).entries()) expect(json.sum).to.equal(5000 * (i + 1));
    const first = memories.size;
    memories.clear();
    await rush();
    expect(memories.size).to.be.at.most(first);
  });

  for (const jsonBytes of [5, 8, 13]) {
    it(`begin so that what follows ${jsonBytes} bytes of JSON lies at a multiple of 8`, async () => {
      const {fastify} = telling();
      const headers = {'inference-header-content-length': String(jsonBytes)};
      const {json} = await post(fastify, Buffer.alloc(5000), headers);
      expect((json.offset + jsonBytes) % 8).to.equal(0);
    });
  }

  for (const [type, status] of [
    ['application/json', 200],
    ['application/octet-stream', 200],
    ['application/x-www-form-urlencoded', 200],
    ['application/vnd.any+json', 200],
    ['text/plain', 415],
    ['TEXT/PLAIN ; charset=utf-8', 415],
    ['multipart/form-data; boundary=x', 415],
  ] as const) {
    it(`of type ${type} are answered ${status}`, async () => {
      const {fastify} = telling();
      expect((await post(fastify, Buffer.from('{}'), {'content-type': type})).status).to.equal(status);
    });
  }
});
