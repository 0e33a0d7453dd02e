import {expect} from 'chai';
import * as errors from '../../../lib/errors.js';
import {receivedError, sentError} from '../../../lib/language/page/sent-error.js';

/** As a message carries it. */
const sent = (error: unknown) => receivedError(structuredClone(sentError(error)));

describe('errors from the worker', () => {
  const {SparsifyError, ScopeError, DatasetError, ModelError, FileError, BackendError} = errors;
  for (const ErrorType of [SparsifyError, ScopeError, DatasetError, ModelError, FileError, BackendError]) {
    it(`are of their class, with code, text and data: ${ErrorType.name}`, () => {
      const error = new ErrorType('a-code', 'what to do', {layers: ['a'], share: 0.5});
      const got = sent(error);
      expect(got.constructor).to.equal(ErrorType);
      expect(got).to.deep.include({name: ErrorType.name, message: 'what to do', code: 'a-code'});
      expect((got as errors.SparsifyError).data).to.deep.equal({layers: ['a'], share: 0.5});
    });
  }

  it('of a class that the page does not know are SparsifyErrors', () => {
    class ServeError extends SparsifyError {
      override name = 'ServeError';
    }
    expect(sent(new ServeError('a-code', 'text')).constructor).to.equal(SparsifyError);
  });

  it('have data as text where they cannot be sent', () => {
    const f = () => 1;
    const {data} = sent(new ModelError('a-code', 'text', {n: 1, f})) as errors.ModelError;
    expect(data).to.deep.equal({n: 1, f: String(f)});
  });

  it('of the language keep their class', () => {
    for (const ErrorType of [Error, TypeError, RangeError, SyntaxError, ReferenceError]) {
      expect(sent(new ErrorType('text')).constructor).to.equal(ErrorType);
    }
  });

  it('of the browser keep their name', () => {
    const got = sent(new DOMException('no room', 'QuotaExceededError'));
    expect(got).to.be.an.instanceOf(DOMException);
    expect(got).to.include({name: 'QuotaExceededError', message: 'no room'});
  });

  it('have their causes, as far as these help', () => {
    const error = new FileError('a-code', 'text', {}, {cause: new TypeError('why')});
    const got = sent(error);
    expect(got.cause).to.be.an.instanceOf(TypeError).with.property('message', 'why');
    const circular = new Error('round');
    circular.cause = circular;
    let depth = 0;
    for (let at: unknown = sent(circular); at instanceof Error; at = at.cause) depth++;
    expect(depth).to.equal(4);
  });

  it('that are no errors become some', () => {
    expect(sent('text')).to.be.an.instanceOf(Error).with.property('message', 'text');
    expect(sent({message: 'no wasm'})).to.have.property('message', 'no wasm');
    expect(sent(undefined)).to.have.property('message', 'undefined');
  });
});
