import {expect} from 'chai';
import type {FastifyRequest} from 'fastify';
import {checkReach, keyCheck} from '../../lib/serve/access.js';
import type {ServeError} from '../../lib/serve/http-errors.js';
import {SparsifyError} from '../../lib/errors.js';

describe('the key of a request', () => {
  const check = keyCheck(['first', 'second']);
  /** Code and text of the refusal; null if there is none. */
  const refused = (
    headers: Record<string, string | string[]>,
    url = '/v1/models',
  ): [string, string] | null => {
    try {
      check({url, headers} as unknown as FastifyRequest);
      return null;
    } catch (error) {
      const {status, code, message} = error as ServeError;
      expect(status).to.equal(401);
      return [code, message];
    }
  };
  const NEEDED = ['invalid-api-key', 'an API key is needed: send "Authorization: Bearer KEY"'];
  const UNKNOWN = ['invalid-api-key', 'the API key is not known here'];

  for (const [headers, expected] of [
    [{'x-api-key': 'first'}, null],
    [{'x-api-key': 'second'}, null],
    [{authorization: 'Bearer first'}, null],
    [{authorization: 'bearer  second'}, null],
    [{'x-api-key': 'second', authorization: 'Bearer third'}, null],
    [{'x-api-key': 'third', authorization: 'Bearer first'}, UNKNOWN],
    [{'x-api-key': ''}, UNKNOWN],
    [{'x-api-key': 'First'}, UNKNOWN],
    [{'x-api-key': 'firstsecond'}, UNKNOWN],
    [{authorization: 'Bearer third'}, UNKNOWN],
    [{}, NEEDED],
    [{authorization: 'first'}, NEEDED],
    [{authorization: 'Basic first'}, NEEDED],
    [{authorization: 'Bearer'}, NEEDED],
    [{authorization: 'Bearerfirst'}, NEEDED],
    [{authorization: 'xBearer first'}, NEEDED],
    [{authorization: 'Bearer first second'}, NEEDED],
    [{'x-api-key': ['first']}, NEEDED],
  ] as const) {
    it(`in ${JSON.stringify(headers)} is ${expected === null ? 'known' : expected[1]}`, () => {
      expect(refused(headers as Record<string, string>)).to.deep.equal(expected);
    });
  }

  for (const url of [
    '/',
    '/?x=1',
    '/healthz',
    '/readyz',
    '/readyz?a?b',
    '/v2/health/live',
    '/v2/health/ready',
  ]) {
    it(`is not asked for at ${url}`, () => expect(refused({}, url)).to.equal(null));
  }
  for (const url of ['/metrics', '/v2', '/healthz/', '/x?/', '']) {
    it(`is asked for at "${url}"`, () => expect(refused({}, url)).to.deep.equal(NEEDED));
  }
});

describe('listening where other machines can ask', () => {
  for (const [host, http, isRefused] of [
    ['127.0.0.1', {}, false],
    ['127.1.2.3', {}, false],
    ['::1', {}, false],
    ['0.0.0.0', {}, true],
    ['192.0.2.1', {}, true],
    ['0.0.0.0', {apiKeys: []}, true],
    ['0.0.0.0', {apiKeys: ['key']}, false],
    ['0.0.0.0', {noKey: true}, false],
    ['0.0.0.0', {noKey: false}, true],
    ['no-such-name.invalid', {}, false], // which cannot be listened at
  ] as const) {
    it(`is ${isRefused ? 'refused' : 'allowed'} at ${host} with ${JSON.stringify(http)}`, async () => {
      const error = await checkReach(host, http).catch((error: unknown) => error);
      if (!isRefused) {
        expect(error).to.equal(undefined);
        return;
      }
      expect(error).to.be.instanceOf(SparsifyError);
      expect(error).to.have.property('code', 'bad-option');
      expect(error).to.have.deep.property('data', {option: 'host', got: host});
      const {message} = error as Error;
      expect(message).to.contain(`host is "${host}", where other machines can ask`);
      expect(message)
        .to.contain('--api-key KEY, SPARSIFY_API_KEYS, or http.apiKeys')
        .and.contain('--no-key, or http.noKey');
    });
  }
});
