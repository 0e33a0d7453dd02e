/** @file Where layers stand in a model, and between which data flows. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {asContainer, callsOf} from '../../lib/tfjs.js';
import {ensureBuilt} from '../../lib/model/dense-layers.js';
import {heldLayers, walkModel} from '../../lib/model/walk.js';
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

describe('heldLayers', () =>
  withoutLeaks(() => {
    before(() => tf.setBackend('cpu'));

    /** A custom layer with these fields. */
    class Holder extends tf.layers.Layer {
      static className = 'SpecHolder';

      constructor(fields: object) {
        super({name: 'holder'});
        Object.assign(this, fields);
      }

      override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
        return tf.clone([inputs].flat()[0]);
      }
    }
    const layer = (name: string) => tf.layers.reLU({name});
    const namesIn = (fields: object) => heldLayers(new Holder(fields)).map(({name}) => name);

    it('are those in fields, arrays, sets, maps and plain objects, in their order and each once', () => {
      const twice = layer('twice');
      const cyclic: Record<string, unknown> = {j: layer('j')};
      cyclic.self = cyclic;
      expect(
        namesIn({
          first: layer('a'),
          list: [layer('b'), [twice, layer('c')], null, 5],
          set: new Set([layer('d'), twice]),
          map: new Map([
            ['x', layer('e')],
            ['y', layer('f')],
          ]),
          object: {one: layer('g'), more: {two: layer('h')}},
          cyclic,
          last: layer('k'),
        }),
      ).to.deep.equal(['a', 'b', 'twice', 'c', 'd', 'e', 'f', 'g', 'h', 'j', 'k']);
    });

    it('are none of what tensors, weights, settings, bytes and calls carry', () => {
      const hidden = {hidden: layer('hidden')};
      const scalar = tf.scalar(1);
      const weight = new tf.LayerVariable(scalar);
      const called = layer('called');
      const symbol = called.apply(tf.input({shape: [2]})) as tf.SymbolicTensor;
      const fields = {
        tensor: Object.assign(scalar, hidden),
        weight: Object.assign(weight, hidden),
        symbol,
        setting: Object.assign(tf.initializers.ones(), hidden),
        floats: Object.assign(new Float32Array(2), hidden),
        view: Object.assign(new DataView(new ArrayBuffer(2)), hidden),
        bytes: Object.assign(new ArrayBuffer(2), hidden),
        call: callsOf(called)[0],
        inboundNodes: [layer('in')],
        outboundNodes: [layer('out')],
      };
      expect(namesIn(fields)).to.deep.equal([]);
      tf.dispose(scalar);
      weight.dispose();
    });

    it('have numbers in their paths where they have one name', () => {
      const x = tf.input({shape: [2], name: 'x'});
      const holder = new Holder({list: [layer('same'), layer('same'), layer('same')]});
      const model = tf.model({inputs: x, outputs: holder.apply(x) as tf.SymbolicTensor});
      expect(walkModel(asContainer(model)).layers.map(({path}) => path)).to.deep.equal([
        'x',
        'holder',
        'holder/same',
        'holder/same_1',
        'holder/same_2',
      ]);
      disposeModels(model);
    });
  }));
