import {expect} from 'chai';
import {isObject} from '../lib/plain-object.js';

describe('isObject', () => {
  it('takes what is neither null nor an array', () => {
    expect([{}, {a: 1}, Object.create(null)].every(isObject)).to.equal(true);
    expect([null, [], 'a', 1, true, undefined, () => 1].some(isObject)).to.equal(false);
  });
});
