import {expect} from 'chai';
import {isAllocation} from '../../lib/metadata/allocation.js';

/** What a release can read, as little as it takes. */
const whole = () => ({
  version: 1,
  layers: [{weights: 1, target: 0.5, minimum: 0, maximum: 1}],
  curve: [{sparsity: 0.5}],
  probes: {level: 0.65, upperLevel: 0.85, rows: 1, layers: [{weights: 1, error: 0, upperError: 0}]},
});

describe('isAllocation', () => {
  it('takes one with probes and without, of any number of layers and points', () => {
    for (const value of [
      whole(),
      {...whole(), probes: null},
      {...whole(), layers: [], curve: []},
      {...whole(), probes: {...whole().probes, layers: []}},
    ]) {
      expect(isAllocation(value)).to.equal(true);
    }
  });

  const {layers, curve, probes} = whole();
  const lists = [
    ...Object.keys(layers[0]).map((key) => [
      `layers' ${key}`,
      {layers: [...layers, {...layers[0], [key]: '1'}]},
    ]),
    ...Object.keys(curve[0]).map((key) => [
      `points' ${key}`,
      {curve: [...curve, {...curve[0], [key]: null}]},
    ]),
    ...Object.keys(probes.layers[0]).map((key) => [
      `probes' ${key}`,
      {probes: {...probes, layers: [...probes.layers, {...probes.layers[0], [key]: undefined}]}},
    ]),
    ...['level', 'upperLevel', 'rows'].map((key) => [
      `the probes' ${key}`,
      {probes: {...probes, [key]: '1'}},
    ]),
  ] as [string, object][];
  for (const [what, change] of lists) {
    it(`refuses ${what} if it is no number`, () => {
      expect(isAllocation({...whole(), ...change})).to.equal(false);
    });
  }

  for (const [what, value] of [
    ['null', null],
    ['text', 'allocation'],
    ['another version', {...whole(), version: 2}],
    ['no layers', {...whole(), layers: undefined}],
    ['layers that are no list', {...whole(), layers: {length: 0}}],
    ['a layer that is null', {...whole(), layers: [null]}],
    ['a layer that is a number', {...whole(), layers: [1]}],
    ['no curve', {...whole(), curve: undefined}],
    ['a point that is null', {...whole(), curve: [null]}],
    ['no probes', {...whole(), probes: undefined}],
    ['probes without layers', {...whole(), probes: {...probes, layers: undefined}}],
  ] as const) {
    it(`refuses ${what}`, () => expect(isAllocation(value)).to.equal(false));
  }
});
