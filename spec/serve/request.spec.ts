import {EventEmitter} from 'node:events';
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

  it('of more bytes than the limit are refused', async () => {
    const {fastify} = telling();
    expect((await post(fastify, Buffer.alloc(LIMIT + 1))).status).to.equal(413);
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
