/** @file Where layers stand in a model, and between which data flows. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {asContainer} from '../../lib/tfjs.js';
import {ensureBuilt} from '../../lib/model/dense-layers.js';
import {walkModel} from '../../lib/model/walk.js';
import {disposeModels, withoutLeaks} from '../support/backends.js';
import {TOPOLOGIES} from '../support/model/topologies.js';

/** Paths by ancestor, and edges by path, of one of the topologies. */
function walk(topology: string) {
  const model = TOPOLOGIES.find(({name}) => name === topology)!.build();
  ensureBuilt(model);
  const {layers, edges} = walkModel(asContainer(model));
  const path = (index: number) => layers[index].path;
  const result = {
    paths: layers.map(({path}) => path),
    ancestors: layers.map(({ancestor}) => ancestor.name),
    holders: layers.map(({holder}) => holder?.name ?? null),
    edges: edges.map(([from, to]) => `${path(from)} > ${path(to)}`).sort(),
  };
  disposeModels(model);
  return result;
}

describe('walkModel', () =>
  withoutLeaks(() => {
    before(() => tf.setBackend('cpu'));

    it('follows a graph', () => {
      const {paths, edges} = walk('directed graph with a residual');
      expect(paths).to.deep.equal(['x', 'a', 'b', 'sum', 'c']);
      expect(edges).to.deep.equal(['a > b', 'b > sum', 'sum > c', 'x > a', 'x > sum']);
    });

    it('goes into nested models, and leaves them by their outputs', () => {
      const {paths, ancestors, holders, edges} = walk('nested models');
      const [x, outer, y, inner, deep] = paths;
      expect(paths).to.deep.equal([
        'x',
        'outer',
        'outer/y',
        'outer/inner',
        'outer/inner/deep',
        'outer/after',
        'head',
      ]);
      expect(ancestors).to.deep.equal(['x', 'outer', 'outer', 'outer', 'outer', 'outer', 'head']);
      expect(holders).to.deep.equal([null, null, 'outer', 'outer', 'inner', 'outer', null]);
      expect(edges).to.deep.equal(
        [
          `${x} > ${outer}`,
          `${outer} > ${y}`,
          `${y} > ${inner}`,
          `${inner} > ${deep}`,
          `${deep} > outer/after`,
          'outer/after > head',
        ].sort(),
      );
    });

    it('goes into custom layers and wrappers, which hold what is in them', () => {
      const custom = walk('Dense inside a custom layer');
      expect(custom.edges).to.deep.equal(
        [
          'block > block/down',
          'block > block/gate',
          'block > block/up',
          'block > out',
          'block/down > out',
          'block/gate > out',
          'block/up > out',
          'x > block',
        ].sort(),
      );
    });

    it('finds the two copies of a bidirectional layer and not the layer that they were made of', () => {
      const {paths} = walk('bidirectional');
      expect(paths.filter((path) => path.startsWith('both/') && path.split('/').length === 2)).to.have.length(
        2,
      );
      expect(
        paths.filter((path) => /^both\/(forward|backward)_/.test(path) && path.split('/').length === 2),
      ).to.have.length(2);
    });

    it('takes the layers of a model that a Sequential begins with for its own', () => {
      const {paths, ancestors} = walk('Sequential that begins with a model');
      expect(paths).to.deep.equal(['base', 'base/base_1', 'base/base_1/first', 'base/second', 'head']);
      expect(ancestors).to.deep.equal(['base', 'base', 'first', 'second', 'head']);
    });
  }));
