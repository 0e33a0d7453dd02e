import {expect} from 'chai';
import fc from 'fast-check';
import {ModelError, SparsifyError} from '../../../lib/errors.js';
import {createSampler, likeliest, type SamplingOptions} from '../../../lib/language/decoding/sampler.js';
import {normals} from '../../support/normals.js';

const DRAWS = 20_000;

/** How often each id is drawn, as shares. */
function shares(logits: number[], options: SamplingOptions): number[] {
  const sample = createSampler({temperature: 1, seed: 1, ...options});
  const counts = logits.map(() => 0);
  const values = Float32Array.from(logits);
  for (let i = 0; i < DRAWS; i++) counts[sample(values)]++;
  return counts.map((count) => count / DRAWS);
}

function softmax(logits: number[], temperature = 1): number[] {
  const weights = logits.map((logit) => Math.exp(logit / temperature));
  const sum = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / sum);
}

/** Five standard deviations of a share of DRAWS draws, at most. */
const TOLERANCE = 5 * Math.sqrt(0.25 / DRAWS);

function close(got: number[], expected: number[]): void {
  for (const [i, share] of got.entries()) expect(share, `id ${i}`).to.be.closeTo(expected[i], TOLERANCE);
}

describe('a sampler', () => {
  const logits = [2, 0.5, 1, -1, 0];

  it('takes the likeliest by default, the first of equals', () => {
    expect(createSampler()(Float32Array.from(logits))).to.equal(0);
    expect(likeliest(Float32Array.of(-3, -1, -1))).to.equal(1);
  });

  it('draws in proportion to the probabilities', () => close(shares(logits, {}), softmax(logits)));

  it('flattens them by temperature', () => {
    close(shares(logits, {temperature: 2}), softmax(logits, 2));
  });

  it('draws from the topK likeliest', () => {
    const [a, , b] = softmax(logits);
    close(shares(logits, {topK: 2}), [a / (a + b), 0, b / (a + b), 0, 0]);
    expect(shares(logits, {topK: 1})[0]).to.equal(1);
    close(shares(logits, {topK: 99}), softmax(logits));
  });

  it('draws from the fewest that reach topP', () => {
    const [a, b, c] = softmax(logits); // 0.55, 0.12, 0.20
    close(shares(logits, {topP: a + c}), [a / (a + c), 0, c / (a + c), 0, 0]);
    expect(shares(logits, {topP: a / 2})[0]).to.equal(1);
    const nucleus = a + b + c;
    close(shares(logits, {topP: a + c + b / 2}), [a / nucleus, b / nucleus, c / nucleus, 0, 0]);
  });

  it('draws from those that are at least minP as likely as the likeliest, of what topK and topP kept', () => {
    const [a, b, c] = softmax(logits); // 0.55, 0.12, 0.20
    const kept = a + b + c;
    close(shares(logits, {minP: 0.2}), [a / kept, b / kept, c / kept, 0, 0]); // e^-1.5 = 0.22 is in, e^-2 = 0.14 is not
    close(shares(logits, {minP: 0.3}), [a / (a + c), 0, c / (a + c), 0, 0]);
    expect(shares(logits, {minP: 1})[0]).to.equal(1);
    close(shares(logits, {minP: 0.2, topK: 2}), [a / (a + c), 0, c / (a + c), 0, 0]);
    close(shares(logits, {minP: 0}), softmax(logits));
    for (const minP of [-0.1, 1.1, NaN]) {
      expect(() => createSampler({minP}))
        .to.throw(SparsifyError)
        .with.property('code', 'bad-option');
    }
  });

  it('takes topP of what topK kept', () => {
    const [a, b, c] = softmax(logits);
    const kept = a + b + c; // a alone is 0.63 of it
    close(shares(logits, {topK: 3, topP: (a + c / 2) / kept}), [a / (a + c), 0, c / (a + c), 0, 0]);
  });

  it('takes topP of what topK kept, not of all', () => {
    // The likeliest is 0.63 of the three that are kept and 0.55 of all.
    expect(shares(logits, {topK: 3, topP: 0.6})[0]).to.equal(1);
  });

  it('draws from a nucleus of many that are far less likely than the best', () => {
    const flat = [0, ...Array.from({length: 1000}, () => Math.log(0.01))]; // 1 and 1000 times 0.01
    const counted = (options: SamplingOptions) => {
      const sample = createSampler({temperature: 1, seed: 1, ...options});
      const values = Float32Array.from(flat);
      return Array.from({length: 2000}, () => sample(values));
    };
    const tolerance = 5 * Math.sqrt((0.1 * 0.9) / 2000);
    const shareOfBest = (ids: number[]) => ids.filter((id) => id === 0).length / ids.length;
    const drawn = counted({topP: 0.9}); // 9.9 of 11: the best and 890 others
    expect(shareOfBest(drawn)).to.be.closeTo(1 / 9.9, tolerance);
    expect(Math.max(...drawn)).to.be.within(860, 891);
    const few = counted({topK: 500});
    expect(shareOfBest(few)).to.be.closeTo(1 / 5.99, 1.3 * tolerance);
    expect(Math.max(...few)).to.be.within(480, 499);
  });

  it('leaves in what is all but impossible if the nucleus is of all', () => {
    const rare = [0, -30]; // e^-30 is below 1e-13
    const sample = createSampler({temperature: 10, topP: 0.96, seed: 3}); // 0.953 and 0.047
    const counts = [0, 0];
    for (let i = 0; i < DRAWS; i++) counts[sample(Float32Array.from(rare))]++;
    expect(counts[1] / DRAWS).to.be.closeTo(0.0474, TOLERANCE);
  });

  it('draws every id of the nucleus, and no other', () => {
    const property = fc.property(
      fc.uniqueArray(fc.integer({min: -30, max: 30}), {minLength: 2, maxLength: 12}),
      fc.integer({min: 5, max: 95}),
      fc.integer({min: 1, max: 14}),
      (tenths, percent, topK) => {
        const values = tenths.map((tenth) => tenth / 10);
        const [weights, topP] = [softmax(values), percent / 100];
        const order = [...weights.keys()].sort((a, b) => weights[b] - weights[a]).slice(0, topK);
        const total = order.reduce((sum, id) => sum + weights[id], 0);
        const sums = order.map(
          (_, i) => order.slice(0, i + 1).reduce((sum, id) => sum + weights[id], 0) / total,
        );
        fc.pre(sums.every((sum) => Math.abs(sum - topP) > 1e-6));
        const nucleus = order.slice(0, sums.findIndex((sum) => sum >= topP) + 1);
        fc.pre(weights[nucleus.at(-1)!] > 0.01);
        const sample = createSampler({temperature: 1, topP, topK, seed: 5});
        const drawn = new Set(Array.from({length: 2000}, () => sample(Float32Array.from(values))));
        expect([...drawn].sort()).to.deep.equal([...nucleus].sort());
      },
    );
    fc.assert(property, {seed: 11, numRuns: 60});
  });

  it('draws the same with the same seed', () => {
    const drawn = (seed: number) => {
      const sample = createSampler({temperature: 1, topP: 0.95, seed});
      return Array.from({length: 50}, (_, i) => sample(normals(1000, i)));
    };
    expect(drawn(7)).to.deep.equal(drawn(7)).and.not.deep.equal(drawn(8));
  });

  it('never draws outside the nucleus', () => {
    const property = fc.property(
      fc.array(fc.double({min: -40, max: 40, noNaN: true}), {minLength: 1, maxLength: 200}),
      fc.double({min: 0.01, max: 1, noNaN: true}),
      fc.integer({min: 1, max: 250}),
      fc.integer(),
      (logits, topP, topK, seed) => {
        const values = Float32Array.from(logits);
        const id = createSampler({temperature: 1, topP, topK, seed})(values);
        const largest = Math.max(...values);
        const weights = Float64Array.from(values, (value) => Math.exp(value - largest));
        const kept = [...weights].sort((a, b) => b - a).slice(0, topK);
        const total = kept.reduce((a, b) => a + b);
        const above = kept.reduce((sum, weight) => (weight > weights[id] ? sum + weight : sum), 0);
        expect(above).to.be.below(topP * total * (1 + 1e-9));
      },
    );
    fc.assert(property);
  });

  it('leaves out what has no probability', () => {
    expect(shares([1, -Infinity, 1], {})[1]).to.equal(0);
  });

  for (const bad of [
    [1, NaN],
    [NaN, 1],
    [-Infinity, -Infinity],
    [Infinity, 1],
  ]) {
    it(`refuses the logits ${bad.join(', ')}`, () => {
      for (const options of [{}, {temperature: 1}]) {
        expect(() => createSampler(options)(Float32Array.from(bad)))
          .to.throw(ModelError)
          .with.property('code', 'nan-logits');
      }
    });
  }

  const wrong: SamplingOptions[] = [
    ...[{temperature: -1}, {temperature: NaN}, {temperature: Infinity}, {topP: 0}, {topP: 1.5}, {topP: NaN}],
    ...[{topK: 0}, {topK: 1.5}, {seed: 0.5}],
  ];
  for (const options of wrong) {
    const [[name, value]] = Object.entries(options);
    it(`refuses ${name} ${value}`, () => {
      expect(() => createSampler(options)).to.throw(SparsifyError, `${name} is ${value}; it must be`);
    });
  }
});
