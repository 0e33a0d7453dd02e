/**
 * @file TensorFlow Serving's REST API (tensorflow.org/tfx/serving/api_rest): predict in row and column form, status,
 * metadata, versions and labels. Not classify and regress, whose examples are features that a LayersModel does not
 * have, and no base64 values: there are no models of strings.
 */
import type {FastifyInstance} from 'fastify';
import {Type} from 'typebox';
import {ServeError, badRequest} from '../http-errors.js';
import {nestedJson, nestedTensor, rowJson} from '../json-tensors.js';
import type {ModelVersion} from '../model-repository.js';
import {checker, clientSignal, errorHandler, parseJson, plainError, type Services} from '../request.js';
import {orderedInputs, type Signature, type TensorInfo, type WireTensor} from '../tensors.js';
import {isObject} from '../../plain-object.js';

const SIGNATURE_NAME = 'serving_default';

const checkPredict = checker(
  Type.Object({
    signature_name: Type.Optional(Type.String()),
    instances: Type.Optional(Type.Array(Type.Unknown(), {minItems: 1})),
    inputs: Type.Optional(Type.Unknown()),
  }),
);

const DTYPES = {float32: 'DT_FLOAT', int32: 'DT_INT32', bool: 'DT_BOOL'} as const;
const STATES = {loading: 'LOADING', available: 'AVAILABLE', draining: 'UNLOADING', failed: 'END'} as const;

/** What stands behind `/v1/models/`. */
interface Target {
  readonly model: string;
  readonly version?: number;
  readonly label?: string;
  /** `predict`, `metadata`, or empty. */
  readonly action: string;
}

const TARGET = /^([^/:]+)(?:\/versions\/(\d{1,15})|\/labels\/([^/:]+))?(?::(\w+)|\/(metadata))?$/;

/** Adds the routes. */
export function tensorFlowServing(fastify: FastifyInstance, {repository, dispatcher}: Services): void {
  fastify.setErrorHandler(errorHandler(plainError));

  fastify.get<{Params: {'*': string}}>('/v1/models/*', (request, reply) => {
    const target = parseTarget(request.params['*']);
    const json = reply.type('application/json');
    if (target.action === 'metadata') {
      const chosen = repository.choose(target.model, target);
      request.servedModel = target.model;
      return json.send(JSON.stringify(metadata(chosen, chosen.info.signature)));
    }
    if (target.action !== '') throw badRequest(`":${target.action}" is asked for with POST`);
    const all = repository.all(target.model);
    request.servedModel = target.model;
    const isNamed = target.version !== undefined || target.label !== undefined;
    const versions = isNamed ? [repository.choose(target.model, target)] : all;
    return json.send(JSON.stringify(status(target.model, versions)));
  });

  fastify.post<{Params: {'*': string}}>('/v1/models/*', async (request, reply) => {
    const target = parseTarget(request.params['*']);
    if (target.action !== 'predict') {
      throw badRequest(`":${target.action}" is not served; ":predict" is`);
    }
    const chosen = repository.choose(target.model, target);
    request.servedModel = target.model;
    const {signature} = chosen.info;
    const body = checkPredict(parseJson(request.body));
    if ((body.instances === undefined) === (body.inputs === undefined)) {
      throw badRequest('the body must have either "instances" (row form) or "inputs" (column form)');
    }
    if (body.signature_name !== undefined && ![SIGNATURE_NAME, ''].includes(body.signature_name)) {
      throw badRequest(`signature_name is unknown here; leave it out, or write "${SIGNATURE_NAME}"`);
    }
    const given =
      body.instances === undefined
        ? columnInputs(body.inputs, signature)
        : rowInputs(body.instances, signature);
    const inputs = orderedInputs(signature, given);
    const outputs = await dispatcher.predict(chosen, inputs, {signal: clientSignal(reply)});
    const text =
      body.instances === undefined
        ? columnAnswer(outputs, signature)
        : rowAnswer(outputs, signature, body.instances.length);
    return reply.type('application/json').send(text);
  });
}

function parseTarget(path: string): Target {
  const found = TARGET.exec(path);
  if (found === null) throw new ServeError(404, 'unknown-path', 'no such path under /v1/models/');
  const [, model, version, label, verb, metadata] = found;
  return {
    model,
    ...(version === undefined ? {} : {version: Number(version)}),
    ...(label === undefined ? {} : {label}),
    action: verb ?? metadata ?? '',
  };
}

/** Row form: an entry for each row, an object by name where the model has several inputs. */
function rowInputs(instances: readonly unknown[], {inputs}: Signature): Map<string, WireTensor> {
  const [first] = instances;
  if (!isObject(first)) {
    const [only] = inputs;
    if (inputs.length > 1) throw badRequest(`instances must be objects of ${namesOf(inputs)}`);
    return new Map([[only.name, nestedTensor(instances, only)]]);
  }
  const given = new Map<string, WireTensor>();
  const names = Object.keys(first);
  for (const instance of instances) {
    if (!isObject(instance) || Object.keys(instance).length !== names.length) {
      throw badRequest('all instances must be objects of the same names');
    }
  }
  for (const name of names) {
    const column = instances.map((instance) => (instance as Record<string, unknown>)[name]);
    given.set(name, nestedTensor(column, infoOf(name, inputs)));
  }
  return given;
}

/** Column form: a tensor, or an object of tensors by name. */
function columnInputs(json: unknown, {inputs}: Signature): Map<string, WireTensor> {
  if (isObject(json)) {
    return new Map(
      Object.entries(json).map(([name, value]) => [name, nestedTensor(value, infoOf(name, inputs))]),
    );
  }
  const [only] = inputs;
  if (inputs.length > 1) throw badRequest(`"inputs" must be an object of ${namesOf(inputs)}`);
  return new Map([[only.name, nestedTensor(json, only)]]);
}

function infoOf(name: string, inputs: readonly TensorInfo[]): TensorInfo {
  const info = inputs.find((input) => input.name === name);
  if (info !== undefined) return info;
  throw badRequest(`the model has no input "${name.slice(0, 100)}"; it has ${namesOf(inputs)}`);
}

function namesOf(infos: readonly TensorInfo[]): string {
  return infos.map(({name}) => name).join(', ');
}

function rowAnswer(outputs: readonly WireTensor[], {outputs: infos}: Signature, rows: number): string {
  const odd = outputs.findIndex(({shape}) => shape[0] !== rows);
  if (odd >= 0) {
    throw badRequest(
      `output "${infos[odd].name}" has shape [${outputs[odd].shape.join(', ')}] for ${rows} rows: ask in column ` +
        'form, with "inputs"',
    );
  }
  const predictions = Array.from({length: rows}, (_, row) =>
    outputs.length === 1
      ? rowJson(outputs[0], row)
      : byName(outputs.map((output, i) => [infos[i].name, rowJson(output, row)])),
  );
  return `{"predictions":[${predictions.join(',')}]}`;
}

function columnAnswer(outputs: readonly WireTensor[], {outputs: infos}: Signature): string {
  const columns =
    outputs.length === 1
      ? nestedJson(outputs[0])
      : byName(outputs.map((output, i) => [infos[i].name, nestedJson(output)]));
  return `{"outputs":${columns}}`;
}

function byName(entries: readonly (readonly [string, string])[]): string {
  return `{${entries.map(([name, json]) => `${JSON.stringify(name)}:${json}`).join(',')}}`;
}

/** With the fields of OpenAI's model object beside them, whose path is the same. */
function status(model: string, versions: readonly ModelVersion[]): object {
  return {
    model_version_status: versions.map(({version, state, error}) => ({
      version: String(version),
      state: STATES[state],
      status: {error_code: error === null ? 'OK' : 'UNKNOWN', error_message: error ?? ''},
    })),
    ...openAiModel(model, versions),
  };
}

/** OpenAI's model object. */
export function openAiModel(model: string, versions: readonly ModelVersion[]): object {
  return {id: model, object: 'model', created: versions[0]?.created ?? 0, owned_by: 'tfjs-sparsify'};
}

function metadata({model, version}: ModelVersion, {inputs, outputs}: Signature): object {
  return {
    model_spec: {name: model, signature_name: '', version: String(version)},
    metadata: {
      signature_def: {
        signature_def: {
          [SIGNATURE_NAME]: {
            inputs: tensorInfos(inputs),
            outputs: tensorInfos(outputs),
            method_name: 'tensorflow/serving/predict',
          },
        },
      },
    },
  };
}

function tensorInfos(infos: readonly TensorInfo[]): object {
  return Object.fromEntries(
    infos.map(({name, dtype, shape}) => [
      name,
      {
        dtype: DTYPES[dtype],
        tensor_shape: {
          dim: shape.map((size) => ({size: String(size ?? -1), name: ''})),
          unknown_rank: false,
        },
        name,
      },
    ]),
  );
}
