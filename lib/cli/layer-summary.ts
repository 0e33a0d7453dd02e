/** @file Many layers as a table that fits a screen: by kind, as a report shows them; `inspect` lists each. */
import type {WeightReport} from '../model/compressible.js';
import type {DenseReport} from '../model/inspect.js';
import {arrange, placeOf} from '../report/layers-by-kind.js';
import {describeBytes, meanOf} from '../report/number-format.js';
import {describeLayers, describeTotal, describeWeights} from './layer-list.js';
import {formatTable, percent} from './text-table.js';

/** So many lines are still read. */
const LINES = 40;

/** Layers that have a line together. */
interface Group<T> {
  readonly name: string;
  readonly members: readonly T[];
}

/**
 * The table of `inspect`, or one line a kind where the layers are many and repeat from block to block.
 *
 * @param out Folder of the model, to name the command that lists all.
 */
export function summarizeLayers(layers: readonly DenseReport[], out: string): string {
  const groups = groupsOf(layers, ({path}) => path);
  if (groups === null) return describeLayers(layers);
  const table = formatTable(groups, [
    {title: 'layers', cell: ({name}) => name},
    {title: 'count', cell: ({members}) => String(members.length), align: 'right'},
    {title: 'size', cell: ({members}) => describeBytes(sizeOf(members)), align: 'right'},
    {title: 'format', cell: ({members}) => [...new Set(members.map(({format}) => format))].join(', ')},
    {title: 'mean target', cell: ({members}) => share(meanOf(targetsOf(members))), align: 'right'},
    {title: 'reached', cell: ({members}) => share(meanOf(reachedBy(members))), align: 'right'},
    {title: 'least', cell: ({members}) => share(extreme(Math.min, members)), align: 'right'},
    {title: 'most', cell: ({members}) => share(extreme(Math.max, members)), align: 'right'},
  ]);
  return `${table}\n\ntfjs-sparsify inspect ${out}: each of the ${layers.length} layers`;
}

/** The table of `inspectWeights`, by kind in the same way. */
export function summarizeWeights(weights: readonly WeightReport[]): string {
  const groups = groupsOf(weights, ({path}) => path);
  if (groups === null) return describeWeights(weights);
  const table = formatTable(groups, [
    {title: 'layers', cell: ({name}) => name},
    {title: 'count', cell: ({members}) => String(members.length), align: 'right'},
    {title: 'type', cell: ({members: [{type}]}) => type},
    {title: 'format', cell: ({members}) => [...new Set(members.map(({format}) => format))].join(', ')},
    {title: 'size', cell: ({members}) => describeBytes(sizeOf(members)), align: 'right'},
  ]);
  return `${table}\n\n${describeTotal(weights)}`;
}

/** Null if each has room for a line of its own, or they do not repeat. */
function groupsOf<T>(items: readonly T[], pathOf: (item: T) => string): readonly Group<T>[] | null {
  if (items.length <= LINES || arrange(items.map(pathOf)) === null) return null;
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const {kind, block} = placeOf(pathOf(item));
    const name = block === null ? pathOf(item) : kind;
    groups.set(name, [...(groups.get(name) ?? []), item]);
  }
  return [...groups].map(([name, members]) => ({name, members}));
}

function sizeOf(members: readonly {readonly bytes: number}[]): number {
  return members.reduce((sum, {bytes}) => sum + bytes, 0);
}

function targetsOf(members: readonly DenseReport[]): number[] {
  return members.flatMap(({target}) => target ?? []);
}

function reachedBy(members: readonly DenseReport[]): number[] {
  return members.flatMap(({reached}) => reached ?? []);
}

function extreme(pick: (...values: number[]) => number, members: readonly DenseReport[]): number | null {
  const targets = targetsOf(members);
  return targets.length === 0 ? null : pick(...targets);
}

function share(value: number | null): string {
  return value === null ? '-' : percent(value);
}
