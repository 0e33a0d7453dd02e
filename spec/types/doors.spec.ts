/**
 * @file The types of the package's doors, as users meet them: what a call takes, what it gives, and what the compiler
 * refuses. The assertions are types alone: `npm run check` holds them, and running this file shows that the values are there.
 */
import type * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {expectTypeOf} from 'expect-type';
import * as main from '../../lib/index.js';
import * as page from '../../lib/language/browser.js';
import * as language from '../../lib/language/index.js';
import * as node from '../../lib/node.js';
import * as serve from '../../lib/serve/index.js';

describe('types of the doors', () => {
  it('sparsifying takes a model, data and targets by scope, and gives a LayersModel', () => {
    expectTypeOf(main.sparsifyActivations).parameter(0).toEqualTypeOf<tf.LayersModel>();
    expectTypeOf(main.sparsifyActivations).returns.resolves.toEqualTypeOf<tf.LayersModel>();
    expectTypeOf<main.SparsifyOptions>().toHaveProperty('targetSparsityByScope');
    expectTypeOf<{'.*': 0.5}>().toExtend<main.TargetSparsityByScope>();
    expectTypeOf<Map<main.TargetScope, number>>().toExtend<main.TargetSparsityByScope>();
    expectTypeOf<{'.*': string}>().not.toExtend<main.TargetSparsityByScope>();
    expectTypeOf<main.Allocation>().toExtend<main.SparsifyOptions['targetSparsityByScope']>();
    expectTypeOf<'pooled' | 'nncf' | 'sequential'>().toEqualTypeOf<main.CalibrationMethod>();
    expect(main.sparsifyActivations).to.be.a('function');
  });

  it('targets are not optional, and a misspelt option is an error of the compiler', () => {
    const check = (model: tf.LayersModel) => [
      // @ts-expect-error No targets.
      () => main.sparsifyActivations(model, [], {}),
      // @ts-expect-error `calibraton` is no option.
      () => main.sparsifyActivations(model, [], {targetSparsityByScope: {'.*': 0.5}, calibraton: 'nncf'}),
      // @ts-expect-error INT3 is no mode.
      () => main.compressWeights(model, {mode: 'int3_asym'}),
      // @ts-expect-error A server needs models.
      () => serve.createServer({}),
      // @ts-expect-error A float64 is no storage.
      () => language.loadLanguageModel('x', {storage: 'float64'}),
    ];
    expect(check).to.be.a('function');
  });

  it('retargeting, compressing and allocating give what the next call takes', () => {
    expectTypeOf(main.retarget).returns.toEqualTypeOf<main.DenseReport[]>();
    expectTypeOf(main.compressWeights).returns.resolves.toEqualTypeOf<tf.LayersModel>();
    expectTypeOf(main.decompressWeights).returns.toEqualTypeOf<tf.LayersModel>();
    expectTypeOf(main.allocateSparsity).returns.resolves.toEqualTypeOf<main.Allocation>();
    expectTypeOf(main.measureSparsity).returns.resolves.toExtend<readonly main.LayerSparsity[]>();
    expectTypeOf<main.LayerSparsity['path']>().toBeString();
    expectTypeOf<main.LayerSparsity['actual']>().toExtend<number | null>();
    expect(main.allocateSparsity).to.be.a('function');
  });

  it('errors carry a code and data', () => {
    expectTypeOf<main.ScopeError>().toExtend<main.SparsifyError>();
    expectTypeOf<serve.ServeError>().toExtend<main.SparsifyError>();
    expectTypeOf<main.SparsifyError['code']>().toBeString();
    expect(new main.ScopeError('code', 'text')).to.be.an.instanceOf(main.SparsifyError);
  });

  it('files, backends and servers', () => {
    expectTypeOf(node.loadLayersModel).toEqualTypeOf<(pathOrUrl: string) => Promise<tf.LayersModel>>();
    expectTypeOf(node.openDataFile).returns.toExtend<Promise<node.DataFile> | node.DataFile>();
    expectTypeOf<node.DataFile>().toExtend<Parameters<typeof main.sparsifyActivations>[1]>();
    expectTypeOf(node.loadBackend).returns.resolves.toEqualTypeOf<node.LoadedBackend>();
    expectTypeOf(serve.createServer).toEqualTypeOf<(options: serve.ServerOptions) => Promise<serve.Server>>();
    expect(node.loadLayersModel).to.be.a('function');
  });

  it('a language model generates text', () => {
    expectTypeOf(language.loadLanguageModel).returns.resolves.toEqualTypeOf<language.LanguageModel>();
    expectTypeOf<language.LanguageModel['model']>().toEqualTypeOf<tf.LayersModel>();
    expectTypeOf<language.Generation['text']>().toExtend<string | null>();
    expectTypeOf<language.Generation['tokens']>().toExtend<readonly number[]>();
    expect(language.loadLanguageModel).to.be.a('function');
  });

  it('in a page a language model has the same methods, with the same options and results', () => {
    expectTypeOf(page.loadLanguageModel).returns.resolves.toEqualTypeOf<page.PageLanguageModel>();
    expectTypeOf<page.PageLanguageModel['generate']>().toEqualTypeOf<language.LanguageModel['generate']>();
    expectTypeOf<page.PageLanguageModel['stream']>().toEqualTypeOf<language.LanguageModel['stream']>();
    expectTypeOf<page.PageLanguageModel['score']>().toEqualTypeOf<language.LanguageModel['score']>();
    expectTypeOf<page.PageLanguageModel['perplexity']>().toEqualTypeOf<
      language.LanguageModel['perplexity']
    >();
    expectTypeOf<page.PageLanguageModel['save']>().toEqualTypeOf<language.LanguageModel['save']>();
    expectTypeOf<page.PageLanguageModel['retarget']>().returns.resolves.toEqualTypeOf<main.DenseReport[]>();
    expectTypeOf<page.PageLanguageModel['allocate']>().returns.resolves.toEqualTypeOf<main.Allocation>();
    // @ts-expect-error A store of one's own cannot be sent to a worker.
    const withStore: page.LoadInPageOptions = {store: new page.MemoryStore()};
    expect(withStore).to.be.an('object');
    expect(page.loadLanguageModel).to.not.equal(language.loadLanguageModel);
  });
});
