import {expect} from 'chai';
import fc from 'fast-check';

import {compilePattern} from '../../lib/scope/name-pattern.js';

describe('compilePattern', () => {
  // Expected values: Python's bool(re.match(pattern, name)).
  for (const [pattern, name, expected] of [
    ['up', 'up_proj', true],
    ['up', 'an/up', false],
    ['up$', 'up_proj', false],
    ['a|b', 'xb', false],
    ['^a', 'a', true],
    ['', 'anything', true],
    ['(?i)UP', 'up_proj', true],
    ['(?i)(?s)U.P', 'u\np', true],
    ['a.b', 'a\nb', false],
    ['(?m)a$', 'a\nb', true],
    ['(?m)^b', 'a\nb', false],
    ['(?x) up _ proj  # the first', 'up_proj', true],
    ['(?x)[ ]a', ' a', true],
    ['(?xi)U P', 'up', true],
    ['(?P<n>ab)(?P=n)', 'abab', true],
    ['(?P<n>ab)(?P=n)', 'abcd', false],
    ['a(?#a comment)b', 'ab', true],
    ['\\Aab\\Z', 'ab', true],
    ['\\Aab\\Z', 'abc', false],
    ['a{,2}b', 'b', true],
    ['a{,2}b', 'aab', true],
    ['a{,2}b', 'aaab', false],
    ['[]a]b', ']b', true],
    ['[^]a]b', ']b', false],
    ['[\\]a]b', ']b', true],
    ['\\(a', '(a', true],
    ['layers\\.\\d+\\.mlp', 'layers.12.mlp.up_proj', true],
  ] as [string, string, boolean][]) {
    it(`${JSON.stringify(pattern)} ${expected ? 'matches' : 'does not match'} ${JSON.stringify(name)}`, () => {
      const compiled = compilePattern(pattern);
      expect(compiled.matches(name)).to.equal(expected);
      expect(compiled.matches(name), 'a second time').to.equal(expected);
    });
  }

  for (const pattern of ['(', '*a', 'a)', '(?(1)a)', 'a\\', '[a', '(?P<1n>a)', 'a(?i)b']) {
    it(`rejects ${pattern}`, () => {
      expect(() => compilePattern(pattern))
        .to.throw('is not a regular expression')
        .with.property('code', 'invalid-pattern');
    });
  }

  it('matches any name by its own text, escaped', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (name, rest) => {
        const pattern = name.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
        return compilePattern(pattern).matches(name + rest);
      }),
    );
  });
});
