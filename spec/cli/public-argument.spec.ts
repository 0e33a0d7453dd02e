import {expect} from 'chai';
import {join} from 'node:path';
import {pathToFileURL} from 'node:url';
import {publicArgument} from '../../lib/cli/public-argument.js';

describe('publicArgument', () => {
  const here = process.cwd();
  for (const [argument, told] of [
    // Paths of this machine.
    ['/home/me/secret project/model.json', 'model.json'],
    ['/home/me/models/', 'models'],
    [here, '.'],
    [join(here, 'models', 'digits'), 'models/digits'],
    [`${here}-beside/model.json`, 'model.json'],
    ['--data=/home/me/x.npy', '--data=x.npy'],
    [`--out=${join(here, 'out')}`, '--out=out'],
    ['file:///home/me/model.json', 'model.json'],
    ['file://models/digits/model.json', 'models/digits/model.json'],
    [pathToFileURL(join(here, 'models/a b.json')).href, 'models/a b.json'],
    // URLs with what opens them.
    ['https://me:word@example.org/m/model.json', 'https://example.org/m/model.json'],
    ['https://token@example.org:8443/model.json', 'https://example.org:8443/model.json'],
    [
      'HTTPS://example.org/model.json?X-Amz-Signature=abc&X-Amz-Credential=me',
      'https://example.org/model.json',
    ],
    ['https://example.org/model.json#key', 'https://example.org/model.json'],
    ['--baseline=https://me:word@example.org/model.json', '--baseline=https://example.org/model.json'],
    ['https://me:word@exa mple.org/model.json?sig=1', 'model.json'],
    // All else is told as it was given.
    ['sparsify', 'sparsify'],
    ['models/digits/model.json', 'models/digits/model.json'],
    ['../model.json', '../model.json'],
    ['.*=0.5', '.*=0.5'],
    ['--target=.*/up_proj=0.5', '--target=.*/up_proj=0.5'],
    ['@gate_up=0.3', '@gate_up=0.3'],
    ['hf:owner/name', 'hf:owner/name'],
    ['--scale', '--scale'],
    ['0.00392', '0.00392'],
    ['', ''],
  ]) {
    it(`tells ${JSON.stringify(argument.replace(here, 'HERE'))} as ${JSON.stringify(told)}`, () => {
      expect(publicArgument(argument)).to.equal(told);
    });
  }
});
