/** @file What the specs of language models do in a page, with one model at a time. */
import {SparsifyError} from '../../../lib/errors.js';
import {
  PROJECTIONS,
  loadLanguageModel,
  type LoadInPageOptions,
  type PageModelSource,
  type PageLanguageModel,
} from '../../../lib/language/browser.js';
import type {GenerateOptions, Generation} from '../../../lib/language/decoding/generate.js';
import type {Prompt} from '../../../lib/language/prompt.js';
import {IgnoredScope, TargetScope} from '../../../lib/scope/target-scope.js';

let model: PageLanguageModel | null = null;
let worker: Worker | null = null;

const DATA = {sequences: 8, sequenceLength: 32, batchSize: 2} as const;

async function loadFrom(source: PageModelSource, options: LoadInPageOptions = {}) {
  model?.dispose();
  model = await loadLanguageModel(source, options);
  const {config, hasTokenizer, backend} = model;
  return {config, hasTokenizer, backend};
}

export async function load(source: string, options: LoadInPageOptions = {}) {
  return loadFrom(source, options);
}

/** Loads, and tells which stages it went through. */
export async function loadWithProgress(source: string, options: LoadInPageOptions) {
  const stages = new Set<string>();
  await loadFrom(source, {...options, onProgress: ({stage}) => stages.add(stage)});
  return [...stages].sort((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b));
}
const ORDER = ['memory', 'download', 'weights'];

/** The same with a worker that the page has started itself, and keeps. */
export async function loadInWorkerOf(url: string, source: string) {
  worker = new Worker(url, {type: 'module'});
  return loadFrom(source, {worker});
}

export function dispose() {
  model?.dispose();
  model = null;
}

/** Calls a method of the model that takes and gives plain data. */
export async function ask(method: keyof PageLanguageModel, ...args: unknown[]): Promise<unknown> {
  const methods = model as unknown as Readonly<Record<string, (...args: unknown[]) => unknown>>;
  const value = await methods[method](...args);
  return value instanceof Float32Array ? [...value] : value;
}

export async function generate(prompt: Prompt, options: GenerateOptions): Promise<Generation> {
  return model!.generate(prompt, options);
}

/** Several at once, and what each gave. */
export async function generateTogether(prompts: readonly Prompt[], options: GenerateOptions) {
  return Promise.all(prompts.map((prompt) => model!.generate(prompt, options)));
}

export async function stream(prompt: Prompt, options: GenerateOptions, most = Infinity) {
  const tokens: (number | null)[] = [];
  let text = '';
  for await (const token of model!.stream(prompt, options)) {
    tokens.push(token.id);
    text += token.text;
    if (tokens.length === most) break;
  }
  return {tokens, text};
}

/** Aborts after some tokens; tells how many came, and whether the reason is the very one that was given. */
export async function abortAfter(tokens: number, prompt: Prompt, options: GenerateOptions) {
  const controller = new AbortController();
  const reason = new Error('enough');
  let seen = 0;
  const onToken = () => {
    if (++seen === tokens) controller.abort(reason);
  };
  const got = await model!
    .generate(prompt, {...options, onToken, signal: controller.signal})
    .then(() => 'nothing was thrown')
    .catch((error: unknown) => error);
  return {seen, isReason: got === reason};
}

export async function sparsify(text: string, progress: boolean) {
  const seen: unknown[] = [];
  const report = await model!.sparsify(text, {
    targetSparsityByScope: [
      [new TargetScope({patterns: [PROJECTIONS.gateUp]}), 0.3],
      [new TargetScope({patterns: [PROJECTIONS.down]}), 0.5],
    ],
    ignoredScope: new IgnoredScope({patterns: ['.*layers[.]1[.].*'], validate: false}),
    ...DATA,
    onProgress: progress ? (value) => seen.push(value) : undefined,
  });
  return {report, progress: seen};
}

export async function allocateAndSparsify(text: string) {
  const allocation = await model!.allocate(text, {
    target: 0.4,
    sequences: 4,
    sequenceLength: 64,
    scopes: new TargetScope({patterns: [PROJECTIONS.all]}),
  });
  return {allocation, report: await model!.sparsify(text, {targetSparsityByScope: allocation, ...DATA})};
}

/** Retargets once the first token has come, and lets the generation go on. */
export async function retargetAmid(target: number, prompt: Prompt, options: GenerateOptions) {
  const retargeted: Promise<unknown>[] = [];
  const onToken = () => {
    if (retargeted.length === 0) retargeted.push(model!.retarget({[PROJECTIONS.all]: target}));
  };
  const {tokens} = await model!.generate(prompt, {...options, onToken});
  await Promise.all(retargeted);
  return {tokens: tokens.length, sparsity: await model!.sparsity()};
}

export async function retarget(target: number) {
  return model!.retarget({[PROJECTIONS.all]: target});
}

/** Saves as files and loads these in the place of the model. */
export async function reloadFromFiles() {
  const files = await model!.files();
  await loadFrom(files);
  return files.map(({name, size}) => ({name, size}));
}

export async function saveAndReload(target: string) {
  await model!.save(target);
  return loadFrom(target);
}

/** What an error is to a page. */
function told(error: unknown) {
  if (!(error instanceof SparsifyError)) return {name: (error as Error).name, message: String(error)};
  const {code, message, data} = error;
  return {name: error.constructor.name, code, message, data};
}

/** How a call ends that fails. */
export async function failure(method: keyof PageLanguageModel, ...args: unknown[]) {
  return ask(method, ...args).then(() => 'nothing was thrown', told);
}

export async function loadFailure(source: string, options: LoadInPageOptions = {}) {
  return loadLanguageModel(source, options).then(() => 'nothing was thrown', told);
}

/** Aborts while it loads. */
export async function abortLoading(source: string) {
  const controller = new AbortController();
  const loading = loadLanguageModel(source, {signal: controller.signal});
  controller.abort(new Error('changed my mind'));
  return loading.then(() => 'nothing was thrown', told);
}

/** Ends the worker amid a generation; how that and the next call fail. */
export async function killWorker(prompt: Prompt, options: GenerateOptions) {
  const first = model!.generate(prompt, {...options, onToken: () => worker!.terminate()});
  const amid = await first.then(() => 'nothing was thrown', told);
  return {amid, after: await failure('inspect')};
}

/** Disposes of the model amid a generation. */
export async function disposeAmid(prompt: Prompt, options: GenerateOptions) {
  const amid = model!.generate(prompt, {...options, onToken: () => model!.dispose()});
  return {amid: await amid.then(() => 'nothing was thrown', told), after: await failure('generate', prompt)};
}

/** A function of the page that throws for the first token. */
export async function throwInCallback(prompt: Prompt) {
  const onToken = () => {
    throw new RangeError('of the page');
  };
  return model!.generate(prompt, {maxTokens: 50, onToken}).then(() => 'nothing was thrown', told);
}
