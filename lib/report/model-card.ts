/**
 * @file The model card: a README.md in Hugging Face's style with a report's figures, to stand beside a saved model. A
 * comment in it says that this package wrote it, and holds the steps that made the model for the next one.
 */
import {Check} from 'typebox/schema';
import type {Allocation} from '../metadata/allocation.js';
import {FLAG, checkOptions, count, required, type OptionRules} from '../option-rules.js';
import type {LatencyTable, QualityTable, ReportContents, Step} from './report-contents.js';
import {arrange, placeOf} from './layers-by-kind.js';
import {describeBytes, describeMs, meanOf, percent, describeCount, times} from './number-format.js';
import {describeTarget, writeMetric} from './wording.js';
import {bytesRead, describeOtherWeights, formatsOf, sparsitySummary} from './summary-numbers.js';

/** What a card is told beside the figures. */
export interface ModelCardOptions {
  /** For language models, Hugging Face's `pipeline_tag` and a command to chat. */
  readonly isLanguageModel: boolean;
  /** Layers of a card without blocks; a long list is in the report. */
  readonly maxLayers?: number;
}

const RULES: OptionRules<ModelCardOptions> = {
  isLanguageModel: required('{isLanguageModel: false}', FLAG),
  maxLayers: count(),
};

const COMMENT = /^<!-- tfjs-sparsify card (\{.*\}) -->$/m;

/** The text of a README.md. */
export function renderModelCard(contents: ReportContents, options: ModelCardOptions): string {
  checkOptions('renderModelCard', options, RULES);
  const {isLanguageModel, maxLayers = 40} = options;
  const {name, measured, allocation, quality, latency, steps} = contents;
  const {layers, actualOn} = measured;
  const {sparsified, actual} = sparsitySummary(layers);
  const parts = [
    frontMatter(contents, isLanguageModel),
    `<!-- tfjs-sparsify card ${inComment({version: 1, steps})} -->`,
    `# ${inline(name)}`,
    description(contents),
    quality === null ? null : `## Quality\n\n${qualityTable(quality)}`,
    speed(contents, latency),
    allocation === null ? null : `## Allocation\n\n${allocationText(allocation)}`,
    sparsified === 0
      ? null
      : `## Sparsity\n\n${layerTable(contents, maxLayers)}${actual === null ? '' : `\n\nActual: ${actualOn}.`}${missedText(contents)}`,
    `## Use\n\n${usage(isLanguageModel)}`,
    steps.length === 0 ? null : `## How it was made\n\n${steps.map(stepText).join('\n\n')}`,
  ];
  return `${parts.filter((part) => part !== null).join('\n\n')}\n`;
}

/**
 * The steps that a card keeps.
 *
 * @returns Null if the text is no card of this package.
 */
export function stepsOfCard(text: string): Step[] | null {
  const json = COMMENT.exec(text)?.[1];
  if (json === undefined) return null;
  try {
    const {steps} = JSON.parse(json) as {steps?: unknown};
    return Check({type: 'array', items: STEP}, steps) ? (steps as readonly Step[] as Step[]) : [];
  } catch {
    return []; // the comment was edited
  }
}

const TEXT = {type: 'string'} as const;
const FILE = {
  type: 'object',
  required: ['name', 'bytes', 'sha256'],
  properties: {name: TEXT, bytes: {type: 'number'}, sha256: TEXT},
} as const;
const INPUT = {
  type: 'object',
  required: ['role', 'files'],
  properties: {role: TEXT, files: {type: 'array', items: FILE}},
} as const;

/** A `Step` as JSON. */
const STEP = {
  type: 'object',
  required: ['command', 'inputs', 'versions'],
  properties: {
    command: TEXT,
    inputs: {type: 'array', items: INPUT},
    versions: {type: 'object', additionalProperties: TEXT},
  },
} as const;

function frontMatter(
  {name, measured: {layers}, weights = [], quality}: ReportContents,
  isLanguageModel: boolean,
): string {
  const tags = [
    ...['tensorflow.js', 'tfjs'],
    ...(layers.some(({sparsified}) => sparsified) ? ['activation-sparsity'] : []),
    ...['int8', 'int4'].filter((tag) => [...layers, ...weights].some(({format}) => format.startsWith(tag))),
  ];
  const lines = [
    'library_name: tfjs-sparsify',
    ...(isLanguageModel ? ['pipeline_tag: text-generation'] : []),
    'tags:',
    ...tags.map((tag) => `  - ${tag}`),
    ...(quality === null ? [] : modelIndex(name, quality, isLanguageModel)),
  ];
  return `---\n${lines.join('\n')}\n---`;
}

/** The last model's figures, as the Hub's leaderboards read them. */
function modelIndex(name: string, {metrics, rows, on}: QualityTable, isLanguageModel: boolean): string[] {
  const {values} = rows[rows.length - 1];
  const known = metrics.flatMap(({title}, i) => {
    const value = values[i];
    return value === null ? [] : [`          - type: ${yaml(title)}\n            value: ${value}`];
  });
  if (known.length === 0) return [];
  return [
    'model-index:',
    `  - name: ${yaml(name)}`,
    '    results:',
    `      - task:\n          type: ${isLanguageModel ? 'text-generation' : 'other'}`,
    `        dataset:\n          name: ${yaml(on)}\n          type: ${yaml(on)}`,
    '        metrics:',
    ...known,
  ];
}

function description(contents: ReportContents): string {
  const {parameters, measured, unit} = contents;
  const {layers} = measured;
  const model = `A TensorFlow.js LayersModel with ${describeCount(parameters)} weights; `;
  if (layers.length === 0) return `${model}${describeOtherWeights(contents)}.`;
  const {sparsified, target, actual} = sparsitySummary(layers);
  const bytes = bytesRead(layers);
  const kernels = `kernels ${formatsOf(layers)}, ${describeBytes(layers.reduce((sum, {bytes}) => sum + bytes, 0))}`;
  const lines = [
    `${model}${layers.length} Dense layers (${kernels}), ` +
      (sparsified === 0
        ? 'none sparsified.'
        : `${sparsified} of them sparsified by tfjs-sparsify: inputs of small magnitude count as 0.`),
  ];
  if (target !== null) {
    lines.push(
      `Mean target ${percent(target)}${actual === null ? '' : `, actual ${percent(actual)}`}, weighted by weights.`,
    );
  }
  if (bytes !== null && bytes.sparse < bytes.dense) {
    lines.push(
      `One ${unit} reads ${describeBytes(bytes.sparse)} of the Dense kernels where rows are skipped, dense ${describeBytes(bytes.dense)}.`,
    );
  }
  return lines.join(' ');
}

function qualityTable({metrics, rows, on}: QualityTable): string {
  const lines = rows.map(({name, weights, sparsity, values}) => [
    inline(name),
    weights ?? '–',
    sparsity === null ? '–' : percent(sparsity),
    ...metrics.map((metric, i) => (values[i] === null ? '–' : writeMetric(metric, values[i]))),
  ]);
  const titles = ['model', 'weights', 'actual sparsity, mean of layers', ...metrics.map(({title}) => title)];
  return `${markdownTable(titles, lines, 2)}\n\nOn ${inline(on)}.`;
}

function speed({bench}: ReportContents, latency: LatencyTable | null): string | null {
  const parts: string[] = [];
  if (latency !== null) {
    const dense = latency.rows.find(({isDense}) => isDense);
    const lines = latency.rows.map(({name, ms}) => [
      inline(name),
      describeMs(ms),
      dense === undefined ? '–' : times(dense.ms / ms),
    ]);
    parts.push(
      markdownTable(['model', `one ${latency.of}`, 'against dense'], lines, 1),
      `Medians, ${inline(latency.on)}.`,
    );
  }
  if (bench !== null) {
    const {predicted, measured} = bench;
    const lines = [
      ...predicted.map(({sparsity, ms, speedup}) => [
        'predicted',
        percent(sparsity, 0),
        describeMs(ms),
        times(speedup),
      ]),
      ...measured.map(({sparsity, ms, speedup}) => [
        'measured',
        percent(sparsity, 0),
        describeMs(ms),
        times(speedup),
      ]),
    ];
    parts.push(
      markdownTable(['model', 'sparsity', 'latency', 'against dense'], lines, 1),
      `Medians, ${inline(bench.on)}.`,
    );
  }
  return parts.length === 0 ? null : `## Latency\n\n${parts.join('\n\n')}`;
}

function allocationText({method, target, met, sparsity, metric}: Allocation): string {
  const asked = describeTarget(target, metric);
  return `Spread over the layers by the method \`${method}\`; asked for ${asked}${met ? '' : ', which no allocation meets: this comes nearest'}; mean sparsity ${percent(sparsity)}.`;
}

/** By kind where there are blocks, else layer by layer. */
function layerTable({measured: {layers}}: ReportContents, maxLayers: number): string {
  const arrangement = arrange(layers.map(({path}) => path));
  const rows =
    arrangement === null
      ? layers.slice(0, maxLayers).map((layer) => ({name: layer.path, members: [layer]}))
      : arrangement.kinds.map((kind) => ({
          name: kind,
          members: layers.filter(({path}) => placeOf(path).block !== null && placeOf(path).kind === kind),
        }));
  const mean = (values: readonly (number | null)[]) => {
    const value = meanOf(values.flatMap((value) => value ?? []));
    return value === null ? '–' : percent(value);
  };
  const lines = rows.map(({name, members}) => [
    code(name),
    String(members.length),
    mean(members.map(({target}) => target)),
    mean(members.map(({actual}) => actual)),
  ]);
  const more =
    arrangement === null && layers.length > maxLayers ? `\n\nAnd ${layers.length - maxLayers} more.` : '';
  return markdownTable(['layers', 'count', 'target', 'actual'], lines, 1) + more;
}

function missedText({measured: {missed}}: ReportContents): string {
  if (missed.length === 0) return '';
  return `\n\nOn the calibration data these do not mask the share that was asked:\n\n${missed.map((line) => `- ${inline(line)}`).join('\n')}`;
}

function usage(isLanguageModel: boolean): string {
  const load = isLanguageModel
    ? `import {loadLanguageModel} from 'tfjs-sparsify/language';

const lm = await loadLanguageModel('.'); // this folder
const {text} = await lm.generate([{role: 'user', content: 'Why is the sky blue?'}]);`
    : `import {registerLayers} from 'tfjs-sparsify';
import {loadBackend, loadLayersModel} from 'tfjs-sparsify/node';

const {tf} = await loadBackend();
registerLayers();
const model = await loadLayersModel('.'); // this folder; in a browser tf.loadLayersModel`;
  return `\`\`\`js\n${load}\n\`\`\``;
}

function stepText({command, inputs, versions}: Step): string {
  const files = inputs.flatMap(({role, files}) =>
    files.map(
      ({name, bytes, sha256}) => `- ${role} ${code(name)}, ${describeBytes(bytes)}, sha256 \`${sha256}\``,
    ),
  );
  const used = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const fence = '`'.repeat(Math.max(3, longestRun(command) + 1));
  return [
    `${fence}bash\n${command}\n${fence}`,
    ...(files.length > 0 ? [files.join('\n')] : []),
    inline(used.join(', ')),
  ].join('\n\n');
}

/** A table; columns from `firstNumber` on to the right. */
function markdownTable(
  titles: readonly string[],
  rows: readonly (readonly string[])[],
  firstNumber: number,
): string {
  const rule = titles.map((_, i) => (i < firstNumber ? '---' : '---:'));
  return [titles, rule, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** Text in Markdown: what would be markup there, or end a table's cell, is escaped. */
function inline(text: string): string {
  return text.replace(/[\r\n]+/g, ' ').replace(/[\\`*_{}[\]<>#|!&~$]/g, '\\$&');
}

/** Text in a code span. */
function code(text: string): string {
  const line = text.replace(/[\r\n]+/g, ' ').replaceAll('|', '\\|');
  const fence = '`'.repeat(longestRun(line) + 1);
  const pad = /^`|`$/.test(line) ? ' ' : '';
  return `${fence}${pad}${line}${pad}${fence}`;
}

function longestRun(text: string): number {
  return Math.max(0, ...[...text.matchAll(/`+/g)].map(([run]) => run.length));
}

/** JSON that does not end the comment that it stands in, on one line. */
function inComment(value: unknown): string {
  return JSON.stringify(value).replaceAll('-', '\\u002d').replaceAll('>', '\\u003e');
}

/** A string in YAML: JSON's form is one of YAML's. */
function yaml(text: string): string {
  return JSON.stringify(text);
}
