import {expect} from 'chai';
import {
  generateTokens,
  type GenerateOptions,
  type GeneratedToken,
  type Generation,
  type GenerationContext,
} from '../../../lib/language/decoding/generate.js';
import {rejection} from '../../support/rejection.js';

/** Each id is a byte. */
const BYTES = {decode: (ids: readonly number[]) => new TextDecoder().decode(Uint8Array.from(ids))};
const END = 4;

/** Greedy decoding that says `text` after any prompt, then END for ever; `calls` is what the session was asked. */
function saying(text: string): GenerationContext & {readonly calls: unknown[][]} {
  const ids = [...new TextEncoder().encode(text)];
  const calls: unknown[][] = [];
  let at = 0;
  const logits = (): Promise<Float32Array> => {
    const row = new Float32Array(256);
    row[ids[at++] ?? END] = 1;
    return Promise.resolve(row);
  };
  const prefill = (...args: unknown[]) => (calls.push(['prefill', ...args]), logits());
  const next = (...args: unknown[]) => (calls.push(['next', ...args]), logits());
  return {session: {prefill, next}, tokenizer: BYTES, endTokens: new Set([END]), contextLength: 100, calls};
}

async function generated(
  context: GenerationContext,
  options: GenerateOptions = {},
  prompt: readonly number[] = [65, 66],
): Promise<Generation & {pieces: GeneratedToken[]}> {
  const tokens = generateTokens(context, prompt, options);
  const pieces: GeneratedToken[] = [];
  for (;;) {
    const {value, done} = await tokens.next();
    if (done) return {...value, pieces};
    pieces.push(value);
  }
}

const idsOf = (text: string) => [...new TextEncoder().encode(text)];

describe('generateTokens', () => {
  it('gives each token as it comes until an end token, which is none of them', async () => {
    const context = saying('hi é');
    const {text, tokens, finishReason, promptTokens, pieces} = await generated(context);
    expect({text, tokens, finishReason, promptTokens}).to.deep.equal({
      text: 'hi é',
      tokens: idsOf('hi é'),
      finishReason: 'stop',
      promptTokens: 2,
    });
    expect(pieces).to.deep.equal(idsOf('hi é').map((id, i) => ({id, text: ['h', 'i', ' ', '', 'é'][i]})));
  });

  for (const prefill of [undefined, 'dense', 'sparse', 0, 7] as const) {
    it(`asks for the prompt once, then token by token, with the policy ${prefill}`, async () => {
      const context = saying('ab');
      const {signal} = new AbortController();
      await generated(context, {prefill, signal});
      const policy = prefill ?? 'dense';
      expect(context.calls).to.deep.equal([
        ['prefill', [65, 66], policy, signal],
        ['next', 97, policy, 2],
        ['next', 98, policy, 2],
      ]);
    });
  }

  it('ends at maxTokens, and computes nothing for a token that will not come', async () => {
    const context = saying('abcdef');
    const {text, tokens, finishReason} = await generated(context, {maxTokens: 3});
    expect({text, tokens, finishReason}).to.deep.equal({
      text: 'abc',
      tokens: idsOf('abc'),
      finishReason: 'length',
    });
    expect(context.calls).to.have.length(3);
  });

  it('generates 256 tokens where nothing is said, and no more than the context holds', async () => {
    const context = {...saying('a'.repeat(500)), contextLength: 1000};
    expect((await generated(context)).tokens).to.have.length(256);
    const short = {...saying('a'.repeat(500)), contextLength: 20};
    const {tokens, finishReason} = await generated(short);
    expect([tokens.length, finishReason]).to.deep.equal([18, 'length']);
  });

  it('ends before a stop string that lies across tokens', async () => {
    const {text, tokens, finishReason, pieces} = await generated(saying('one. Two. x'), {stop: '. T'});
    expect({text, tokens, finishReason}).to.deep.equal({
      text: 'one',
      tokens: idsOf('one. T'),
      finishReason: 'stop',
    });
    expect(pieces.map((piece) => piece.text).join('')).to.equal('one');
    expect(pieces.every(({id}) => id !== null)).to.equal(true);
  });

  it('ends at the first of several stop strings', async () => {
    const {text} = await generated(saying('abcdef'), {stop: ['ef', 'cd']});
    expect(text).to.equal('ab');
  });

  it('gives out at the end what was held back, without an id', async () => {
    const held = await generated(saying('ab.'), {stop: '. X'});
    expect([held.text, held.finishReason]).to.deep.equal(['ab.', 'stop']);
    expect(held.pieces.slice(-2)).to.deep.equal([
      {id: 46, text: ''},
      {id: null, text: '.'},
    ]);
    const cut = await generated(saying('aé'), {maxTokens: 2});
    expect([cut.text, cut.finishReason]).to.deep.equal(['a\ufffd', 'length']);
    expect(cut.pieces.at(-1)).to.deep.equal({id: null, text: '\ufffd'});
  });

  it('finds a stop string that only the end completes', async () => {
    const {text, finishReason} = await generated(saying('aé'), {maxTokens: 2, stop: '\ufffd'});
    expect([text, finishReason]).to.deep.equal(['a', 'stop']);
  });

  it('keeps the space before a first word that follows the prompt', async () => {
    const words = {
      decode: (ids: readonly number[]) =>
        ids
          .map((id) => ` w${id}`)
          .join('')
          .slice(1),
    };
    const {text} = await generated({...saying('ab'), tokenizer: words});
    expect(text).to.equal(' w97 w98');
  });

  it('gives ids and no text without a tokenizer', async () => {
    const {text, tokens, pieces} = await generated({...saying('ab'), tokenizer: null});
    expect([text, tokens]).to.deep.equal(['', [97, 98]]);
    expect(pieces).to.deep.equal([
      {id: 97, text: ''},
      {id: 98, text: ''},
    ]);
  });

  it('generates nothing where the first token ends it', async () => {
    const {pieces, timeToFirstTokenMs, ...rest} = await generated(saying(''));
    expect(pieces).to.deep.equal([]);
    expect(rest).to.deep.equal({
      text: '',
      tokens: [],
      finishReason: 'stop',
      promptTokens: 2,
      tokensPerSecond: 0,
    });
    expect(timeToFirstTokenMs).to.be.at.least(0);
  });

  it('measures from the call to the first token, and from there to the last', async () => {
    const times = [1000, 1250, 1350, 1450, 1550]; // the call, three tokens, the end token
    performance.now = () => times.shift() ?? NaN;
    try {
      const {timeToFirstTokenMs, tokensPerSecond} = await generated(saying('abc'));
      expect([timeToFirstTokenMs, tokensPerSecond]).to.deep.equal([250, 10]);
    } finally {
      Reflect.deleteProperty(performance, 'now'); // the class's own again
    }
  });

  it('measures no speed of a single token', async () => {
    expect((await generated(saying('abc'), {maxTokens: 1})).tokensPerSecond).to.equal(0);
    expect((await generated(saying('a'))).tokensPerSecond).to.be.above(0); // the end token is the second
  });

  it('samples as it is told', async () => {
    const options = {temperature: 50, seed: 3, maxTokens: 20};
    const drawn = await generated({...saying('a'.repeat(30)), endTokens: new Set()}, options);
    expect(new Set(drawn.tokens).size).to.be.above(10);
    const again = await generated({...saying('a'.repeat(30)), endTokens: new Set()}, options);
    expect(again.tokens).to.deep.equal(drawn.tokens);
    for (const narrow of [{topK: 1}, {topP: 1e-6}, {minP: 1}]) {
      const {tokens} = await generated(saying('aaa'), {...options, ...narrow});
      expect(tokens, JSON.stringify(narrow)).to.deep.equal([97, 97, 97]);
    }
  });

  it('stops between two tokens with the reason of the signal', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const context = saying('abcdef');
    const tokens = generateTokens(context, [65], {signal: controller.signal});
    await tokens.next();
    await tokens.next();
    controller.abort(reason);
    expect(await tokens.next().catch((error: unknown) => error)).to.equal(reason);
    expect(context.calls, 'nothing is computed after it').to.have.length(2);
  });

  it('stops for a signal that comes while a token is computed', async () => {
    const controller = new AbortController();
    const context = saying('abcdef');
    const {next} = context.session;
    context.session.next = (...args) => {
      if (context.calls.length === 2) controller.abort(new Error('meanwhile'));
      return next(...args);
    };
    const pieces: number[] = [];
    const run = async () => {
      for await (const {id} of generateTokens(context, [65], {signal: controller.signal})) pieces.push(id!);
    };
    expect(await run().catch(String)).to.equal('Error: meanwhile');
    expect(pieces).to.deep.equal(idsOf('ab'));
  });

  it('leaves timers their turn', async () => {
    let ticks = 0;
    let timer: NodeJS.Immediate;
    const tick = () => {
      ticks++;
      timer = setImmediate(tick);
    };
    timer = setImmediate(tick);
    await generated(saying('a'.repeat(40)));
    clearImmediate(timer);
    expect(ticks).to.be.at.least(39);
  });

  for (const [option, got, allowed] of [
    ['maxTokens', 0, 'a whole number of 1 or more'],
    ['maxTokens', 1.5, 'a whole number of 1 or more'],
    ['maxTokens', '3', 'a whole number of 1 or more'],
    ['prefill', -1, '"sparse", "dense", or how many leading tokens are dense'],
    ['prefill', 0.5, '"sparse", "dense", or how many leading tokens are dense'],
    ['prefill', 'Dense', '"sparse", "dense", or how many leading tokens are dense'],
    ['prefill', null, '"sparse", "dense", or how many leading tokens are dense'],
    ['stop', '', 'a string that is not empty, or several'],
    ['stop', ['a', ''], 'a string that is not empty, or several'],
    ['stop', [7], 'a string that is not empty, or several'],
  ] as const) {
    it(`refuses ${option} ${JSON.stringify(got)} before anything is computed`, async () => {
      const context = saying('a');
      const error = await rejection(() => generated(context, {[option]: got}), 'bad-option');
      expect(error.message).to.equal(`${option} is ${JSON.stringify(got)}; it must be ${allowed}`);
      expect(error.data).to.deep.equal({option, got});
      expect(context.calls).to.deep.equal([]);
    });
  }

  it('refuses an option that it does not know, by its name', async () => {
    const wrong = {maxToken: 3} as GenerateOptions;
    const error = await rejection(() => generated(saying('a'), wrong), 'unknown-option');
    expect(error.message).to.include('generate').and.include('maxToken');
  });

  it('refuses stop strings without a tokenizer, but an empty list of them', async () => {
    const context = {...saying('a'), tokenizer: null};
    const error = await rejection(() => generated(context, {stop: 'x'}), 'no-tokenizer');
    expect(error.message).to.equal(
      'stop strings need a tokenizer, and this model has none: leave out `stop`, and watch the ids in onToken',
    );
    expect((await generated(context, {stop: []})).tokens).to.deep.equal([97]);
  });
});
