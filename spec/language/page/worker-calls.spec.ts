import {expect} from 'chai';
import {BackendError, ModelError, ScopeError, SparsifyError} from '../../../lib/errors.js';
import type {Handlers} from '../../../lib/language/page/answer-calls.js';
import {PageLanguageModel} from '../../../lib/language/page/page-language-model.js';
import type {AllocateInPageOptions} from '../../../lib/language/page/messages.js';
import type {GenerateOptions} from '../../../lib/language/decoding/generate.js';
import {TargetScope} from '../../../lib/scope/target-scope.js';
import {connect, failureOf, tinyHandlers, type Connected} from '../../support/language/hosted.js';
import {loadTiny} from '../../support/language/tiny-language-models.js';

describe('calls of a worker', () => {
  let connected: Connected;
  let handlers: Handlers;
  /** Signals that reached the model's `generate`. */
  const signals: (AbortSignal | undefined)[] = [];
  let lm: PageLanguageModel;

  before(async () => {
    handlers = tinyHandlers();
    const watched: Handlers = {
      ...handlers,
      generate(prompt, options) {
        signals.push(options.signal);
        return handlers.generate(prompt, options);
      },
    };
    connected = connect(watched);
    const loaded = await connected.calls.call('load', 'tiny', {});
    lm = new PageLanguageModel(connected.calls, loaded);
  });
  after(() => connected.end());
  beforeEach(() => {
    signals.length = 0;
    connected.received.length = 0;
  });

  it('tell of the model as it was loaded', async () => {
    const tiny = await loadTiny();
    expect(lm.config).to.deep.equal(tiny.config);
    expect(lm.hasTokenizer).to.equal(true);
    expect(lm.backend.why).to.equal('as Node has it');
    tiny.dispose();
  });

  it('carry scopes as scopes, in pairs, in Maps and by themselves', async () => {
    const allOf = (value: number) => new Map([[new TargetScope({patterns: ['.*']}), value]]);
    expect(await failureOf(lm.retarget(allOf(0.5))))
      .to.be.an.instanceOf(ModelError)
      .with.property('code', 'no-statistics');
    expect(await failureOf(lm.retarget([[new TargetScope({names: ['nothing']}), 0.5]])))
      .to.be.an.instanceOf(ScopeError)
      .with.property('code');
    const {tokens} = await lm.generate('a', {maxTokens: 2, temperature: 0});
    expect(tokens).to.have.length(2);
  });

  it('are refused where an argument is no data, and others go on', async () => {
    const measure = {measure: () => 1};
    const error = await failureOf(lm.allocate('text', {target: 0.5, loss: measure} as AllocateInPageOptions));
    expect(error).to.be.an.instanceOf(SparsifyError).with.property('code', 'not-sendable');
    expect(await lm.encode('a')).to.have.length(1);
  });

  it('refuse a signal and a callback that are none, before anything is sent', async () => {
    const wrong: readonly unknown[] = [{signal: 'now'}, {onToken: 'me'}];
    for (const options of wrong) {
      expect(await failureOf(lm.generate('a', options as GenerateOptions))).to.have.property(
        'code',
        'bad-option',
      );
    }
    expect(connected.received).to.deep.equal([]);
  });

  it('with a callback that nobody calls are refused as in Node', async () => {
    const error = await failureOf(lm.generate('a', {onTokens: () => {}} as GenerateOptions));
    expect(error).to.have.property('code', 'unknown-option');
    expect(error).to.have.nested.property('data.nearest').that.includes('onToken');
  });

  it('end in the worker when their signal is aborted, with its reason at once', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    let tokens = 0;
    const error = await failureOf(
      lm.generate('a', {
        maxTokens: 200,
        temperature: 0,
        signal: controller.signal,
        onToken: () => ++tokens === 3 && controller.abort(reason),
      }),
    );
    expect(error).to.equal(reason);
    expect(tokens).to.equal(3);
    await lm.compress({mode: 'int8_sym'}); // has its turn once the generation has ended
    expect(signals[0]!.aborted).to.equal(true);
  });

  it('are not made when their signal was aborted before', async () => {
    const reason = new Error('before');
    expect(await failureOf(lm.generate('a', {signal: AbortSignal.abort(reason)}))).to.equal(reason);
    expect(await failureOf(lm.stream('a', {signal: AbortSignal.abort(reason)}).next())).to.equal(reason);
    expect(connected.received).to.deep.equal([]);
  });

  it('end in the worker when the loop over a stream is left', async () => {
    for await (const {id} of lm.stream('a', {maxTokens: 200, temperature: 0})) {
      expect(id).to.be.a('number');
      break;
    }
    await lm.inspect();
    expect(signals[0]!.aborted).to.equal(true);
  });

  it('end when the signal of a stream is aborted, without the tokens that have come', async () => {
    const controller = new AbortController();
    const tokens = lm.stream('a', {maxTokens: 200, temperature: 0, signal: controller.signal});
    await tokens.next();
    controller.abort(new Error('enough'));
    expect(await failureOf(tokens.next())).to.have.property('message', 'enough');
    expect(await tokens.next()).to.deep.equal({done: true, value: undefined});
  });

  it('end when a callback throws, and with what it throws', async () => {
    const thrown = new TypeError('mine');
    const error = await failureOf(
      lm.generate('a', {
        maxTokens: 200,
        onToken: () => {
          throw thrown;
        },
      }),
    );
    expect(error).to.equal(thrown);
  });

  it('give every token to a stream whose reader is slow', async () => {
    const options = {maxTokens: 20, temperature: 0};
    const {tokens} = await lm.generate('a', options);
    const seen: number[] = [];
    for await (const {id} of lm.stream('a', options)) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      if (id !== null) seen.push(id);
    }
    expect(seen).to.deep.equal(tokens);
  });

  it('pay no heed to what others send', async () => {
    for (const data of ['text', null, {kind: 'answer', id: 1}, {protocol: 'other/1', kind: 'started'}]) {
      connected.tell(data);
    }
    expect(await lm.encode('a')).to.have.length(1);
    expect(connected.isClosed()).to.equal(false);
  });

  it('all end, and the worker with them, when it is of another release', async () => {
    const other = connect(handlers);
    const waiting = other.calls.call('inspect');
    other.tell({protocol: 'tfjs-sparsify/2', kind: 'started', lock: null});
    const error = await failureOf(waiting);
    expect(error).to.be.an.instanceOf(BackendError).with.property('code', 'worker-mismatch');
    expect(other.isClosed()).to.equal(true);
    expect(await failureOf(other.calls.call('inspect'))).to.equal(error);
    other.end();
  });

  it('all end when the page disposes of the model', async () => {
    const other = connect(tinyHandlers());
    const loading = other.calls.call('load', 'tiny', {});
    const proxy = new PageLanguageModel(other.calls, await loading);
    const generation = proxy.generate('a', {maxTokens: 100});
    proxy.dispose();
    proxy.dispose();
    for (const call of [generation, proxy.inspect(), proxy.stream('a').next()]) {
      expect(await failureOf(call)).to.have.property('code', 'model-disposed');
    }
    expect(other.isClosed()).to.equal(true);
    other.end();
  });

  it('of a model without tokenizer take ids', async () => {
    const other = connect(tinyHandlers());
    const loaded = await other.calls.call('load', 'without-tokenizer', {});
    const proxy = new PageLanguageModel(other.calls, loaded);
    expect(proxy.hasTokenizer).to.equal(false);
    for (const call of [proxy.encode('a'), proxy.decode([1]), proxy.generate('a')]) {
      expect(await failureOf(call)).to.have.property('code', 'no-tokenizer');
    }
    expect((await proxy.generate([1, 2], {maxTokens: 2, temperature: 0})).promptTokens).to.equal(2);
    other.end();
  });

  it('load once, and nothing before', async () => {
    const other = connect(tinyHandlers());
    expect(await failureOf(other.calls.call('inspect'))).to.have.property('code', 'not-loaded');
    await other.calls.call('load', 'tiny', {});
    const again = await failureOf(other.calls.call('load', 'tiny', {}));
    expect(again).to.be.an.instanceOf(ModelError).with.property('code', 'already-loaded');
    other.end();
  });
});
