/** @file Reports of layers as text, the same in every command. */
import type {LayerSparsity} from '../eval/measure-sparsity.js';
import type {WeightReport} from '../model/compressible.js';
import type {DenseReport} from '../model/inspect.js';
import {describeBytes} from '../report/number-format.js';
import {formatTable, percent} from './text-table.js';

/** The table of `inspect`. */
export function describeLayers(layers: readonly DenseReport[]): string {
  return formatTable(layers, [
    {title: 'layer', cell: ({path}) => path},
    {title: 'inputs', cell: ({inputSize}) => String(inputSize), align: 'right'},
    {title: 'units', cell: ({units}) => String(units), align: 'right'},
    {title: 'weights', cell: ({weightShare}) => percent(weightShare), align: 'right'},
    {title: 'format', cell: ({format}) => format},
    {title: 'size', cell: ({bytes}) => describeBytes(bytes), align: 'right'},
    {title: 'target', cell: ({target}) => (target === null ? '-' : percent(target)), align: 'right'},
    {title: 'reached', cell: ({reached}) => (reached === null ? '-' : percent(reached)), align: 'right'},
    {title: 'threshold', cell: ({threshold}) => threshold?.toPrecision(5) ?? '-', align: 'right'},
  ]);
}

/** The table of `inspectWeights`, and their size in all. */
export function describeWeights(weights: readonly WeightReport[]): string {
  const table = formatTable(weights, [
    {title: 'layer', cell: ({path}) => path},
    {title: 'type', cell: ({type}) => type},
    {title: 'weight', cell: ({weight}) => weight},
    {title: 'shape', cell: ({shape}) => shape.join(' x '), align: 'right'},
    {title: 'format', cell: ({format}) => format},
    {title: 'size', cell: ({bytes}) => describeBytes(bytes), align: 'right'},
  ]);
  return `${table}\n\n${describeTotal(weights)}`;
}

/** The size of weights in all, beside what they would take as float32. */
export function describeTotal(weights: readonly WeightReport[]): string {
  const stored = weights.reduce((sum, {bytes}) => sum + bytes, 0);
  const float = weights.reduce((sum, {shape}) => sum + 4 * shape.reduce((size, n) => size * n, 1), 0);
  return `${describeBytes(stored)} in all, ${describeBytes(float)} as float32`;
}

/** The table of `measureSparsity`. */
export function describeSparsity(layers: readonly LayerSparsity[]): string {
  return formatTable(layers, [
    {title: 'layer', cell: ({path}) => path},
    {title: 'target', cell: ({target}) => (target === null ? '-' : percent(target)), align: 'right'},
    {title: 'actual', cell: ({actual}) => percent(actual), align: 'right'},
  ]);
}

/** A report as JSON: a threshold that is not calibrated yet, -Infinity, becomes null, which JSON can hold. */
export function layersJson(layers: readonly DenseReport[]): DenseReport[] {
  return layers.map((layer) => ({
    ...layer,
    threshold: Number.isFinite(layer.threshold) ? layer.threshold : null,
  }));
}
