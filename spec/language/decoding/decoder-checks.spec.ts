import {expect} from 'chai';
import {
  checkAppendOptions,
  checkIdle,
  checkNotDisposed,
  checkTargets,
  checkTruncation,
  checkedIds,
} from '../../../lib/language/decoding/decoder-checks.js';
import {rejection} from '../../support/rejection.js';

describe('what every decoder checks', () => {
  it('copies ids of the vocabulary, its edges too', () => {
    const ids = Int32Array.of(0, 95, 7);
    const copy = checkedIds(ids, 'tokens', 96);
    expect(copy).to.deep.equal(ids);
    expect(copy).to.not.equal(ids);
    expect(checkedIds([3], 'tokens', 4)).to.deep.equal(Int32Array.of(3));
  });

  for (const got of [96, -1, 0.5, NaN, Infinity]) {
    it(`names an id that is ${got}, and its place`, async () => {
      const error = await rejection(() => checkedIds([1, got, 200], 'targets', 96), 'bad-token');
      expect(error.message).to.equal(
        `targets[1] is ${got}; an id must be an integer from 0 to 95, the model's vocabulary`,
      );
      expect(error.data).to.deep.equal({index: 1, got, vocabularySize: 96});
    });
  }

  it('wants at least one id', async () => {
    const error = await rejection(() => checkedIds([], 'targets', 96), 'empty-input');
    expect(error.message).to.equal('the list of targets is empty; give at least one id');
  });

  it('wants a target for each token', async () => {
    checkTargets(Int32Array.of(1, 2), Int32Array.of(2, 3));
    for (const targets of [[1], [1, 2, 3]]) {
      const error = await rejection(
        () => checkTargets(Int32Array.of(1, 2), Int32Array.from(targets)),
        'wrong-length',
      );
      expect(error.message).to.equal(
        `score got 2 tokens and ${targets.length} targets; give one target a token: what follows it`,
      );
      expect(error.data).to.deep.equal({tokens: 2, targets: targets.length});
    }
  });

  it('cuts a sequence to what it holds', async () => {
    for (const length of [0, 1, 7]) checkTruncation(length, 7);
    for (const got of [8, -1, 0.5, NaN]) {
      const error = await rejection(() => checkTruncation(got, 7), 'wrong-length');
      expect(error.message).to.equal(
        `cannot truncate to ${got} tokens; the decoder holds 7: give an integer from 0 to that`,
      );
      expect(error.data).to.deep.equal({got, held: 7});
    }
  });

  it('says that a decoder computes, or is disposed', async () => {
    checkIdle('idle');
    checkNotDisposed('idle');
    checkNotDisposed('busy');
    expect((await rejection(() => checkIdle('busy'), 'decoder-busy')).message).to.equal(
      'the decoder is still computing; await its last call before the next',
    );
    for (const check of [checkIdle, checkNotDisposed]) {
      expect((await rejection(() => check('disposed'), 'decoder-disposed')).message).to.equal(
        'the decoder is disposed; make a new one for the model',
      );
    }
  });

  it('knows its options', async () => {
    for (const options of [undefined, {}, {dense: true}, {dense: undefined}]) checkAppendOptions(options);
    const unknown = await rejection(() => checkAppendOptions({sparse: true}), 'unknown-option');
    expect(unknown.message).to.include('a decoder').and.include('sparse');
    await rejection(() => checkAppendOptions({dense: 1}), 'bad-option');
  });
});
