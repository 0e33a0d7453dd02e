/**
 * @file The Open Inference Protocol v2 (KServe's predict-v2 REST) with Triton's binary tensor extension and its
 * repository index: metadata, health, infer. Not its shared memory, sequences and classification.
 */
import type {FastifyInstance, FastifyRequest} from 'fastify';
import {Type, type Static} from 'typebox';
import {JSON_LENGTH} from '../bodies.js';
import {ServeError, badRequest} from '../http-errors.js';
import {flatJson, shapedTensor} from '../json-tensors.js';
import type {VersionChoice} from '../model-repository.js';
import {checker, clientSignal, errorHandler, parseJson, plainError, type Services} from '../request.js';
import {
  VALUE_ARRAYS,
  emptyValues,
  orderedInputs,
  sizeOf,
  type Signature,
  type TensorInfo,
  type TensorType,
  type TensorValues,
  type WireTensor,
} from '../tensors.js';

const Parameters = Type.Optional(Type.Record(Type.String(), Type.Unknown()));
const Input = Type.Object({
  name: Type.String(),
  shape: Type.Array(Type.Integer({minimum: 0}), {maxItems: 8}),
  datatype: Type.String(),
  parameters: Parameters,
  data: Type.Optional(Type.Unknown()),
});
const checkInfer = checker(
  Type.Object({
    id: Type.Optional(Type.String()),
    parameters: Parameters,
    inputs: Type.Array(Input, {minItems: 1}),
    outputs: Type.Optional(Type.Array(Type.Object({name: Type.String(), parameters: Parameters}))),
  }),
);

/** Triton's wishes that change an answer or its form, and cannot be met; any that is not set says 0, false or nothing. */
const UNSUPPORTED: readonly string[] = [
  ...['sequence_id', 'sequence_start', 'sequence_end', 'classification'],
  ...['shared_memory_region', 'shared_memory_byte_size', 'shared_memory_offset'],
];

const DATATYPES = {float32: 'FP32', int32: 'INT32', bool: 'BOOL'} as const satisfies Record<
  TensorType,
  string
>;
const DTYPES: ReadonlyMap<string, TensorType> = new Map(
  (Object.keys(DATATYPES) as TensorType[]).map((dtype) => [DATATYPES[dtype], dtype]),
);
const PLATFORM = 'tensorflowjs_layers_model';

interface ModelParams {
  readonly name: string;
  readonly version?: string;
}

/** Adds the routes. */
export function openInference(
  fastify: FastifyInstance,
  {repository, dispatcher, version, isDraining}: Services & {version: string; isDraining: () => boolean},
): void {
  fastify.setErrorHandler(errorHandler(plainError));
  const isReady = () => repository.isReady && !isDraining();

  fastify.get('/v2', () => ({
    name: 'tfjs-sparsify',
    version,
    extensions: ['binary_tensor_data', 'model_repository'],
  }));
  fastify.get('/v2/health/live', () => ({live: true}));
  fastify.get('/v2/health/ready', (_request, reply) =>
    reply.code(isReady() ? 200 : 503).send({ready: isReady()}),
  );
  fastify.post('/v2/repository/index', () =>
    repository.names.flatMap((name) =>
      repository.all(name).map(({version, state, error}) => ({
        ...{name, version: String(version), reason: error ?? ''},
        state: state === 'available' ? 'READY' : state === 'loading' ? 'LOADING' : 'UNAVAILABLE',
      })),
    ),
  );

  for (const prefix of ['/v2/models/:name', '/v2/models/:name/versions/:version']) {
    fastify.get<{Params: ModelParams}>(prefix, (request) => {
      const chosen = repository.choose(request.params.name, choiceOf(request.params));
      request.servedModel = chosen.model;
      const {inputs, outputs} = chosen.info.signature;
      const available = repository.all(chosen.model).filter(({state}) => state === 'available');
      return {
        name: chosen.model,
        versions: available.map((entry) => String(entry.version)),
        platform: PLATFORM,
        inputs: inputs.map(tensorMetadata),
        outputs: outputs.map(tensorMetadata),
      };
    });
    fastify.get<{Params: ModelParams}>(`${prefix}/ready`, (request) => {
      const chosen = repository.choose(request.params.name, choiceOf(request.params));
      request.servedModel = chosen.model;
      return {name: chosen.model, ready: true};
    });
    fastify.post<{Params: ModelParams}>(`${prefix}/infer`, async (request, reply) => {
      const chosen = repository.choose(request.params.name, choiceOf(request.params));
      request.servedModel = chosen.model;
      const {signature} = chosen.info;
      const {json, binary} = splitBody(request);
      const body = checkInfer(json);
      checkParameters(body);
      const inputs = orderedInputs(signature, readInputs(body, binary));
      const wanted = wantedOutputs(body, signature);
      const timeoutMs = timeoutOf(body);
      const control = {signal: clientSignal(reply), ...(timeoutMs === undefined ? {} : {timeoutMs})};
      const outputs = await dispatcher.predict(chosen, inputs, control);
      const head = {
        model_name: chosen.model,
        model_version: String(chosen.version),
        ...(body.id === undefined ? {} : {id: body.id}),
      };
      const answer = writeAnswer(head, wanted, outputs);
      if (answer.jsonBytes !== null) reply.header('Inference-Header-Content-Length', answer.jsonBytes);
      return reply
        .type(answer.jsonBytes === null ? 'application/json' : 'application/octet-stream')
        .send(answer.body);
    });
  }
}

function choiceOf({version}: ModelParams): VersionChoice {
  if (version === undefined) return {};
  if (/^\d{1,15}$/.test(version)) return {version: Number(version)};
  throw new ServeError(404, 'unknown-version', 'versions are whole numbers');
}

function tensorMetadata({name, dtype, shape}: TensorInfo): object {
  return {name, datatype: DATATYPES[dtype], shape: shape.map((size) => size ?? -1)};
}

/** The JSON of a body, and the bytes behind it. */
function splitBody({headers, body}: FastifyRequest): {json: unknown; binary: Buffer} {
  const bytes = Buffer.isBuffer(body) ? body : Buffer.alloc(0);
  const length = headers[JSON_LENGTH];
  if (length === undefined) return {json: parseJson(bytes), binary: Buffer.alloc(0)};
  if (typeof length !== 'string' || !/^\d{1,15}$/.test(length) || Number(length) > bytes.length) {
    const got = String(length).slice(0, 40);
    throw badRequest(`Inference-Header-Content-Length is ${got}; the body has ${bytes.length} bytes`);
  }
  return {json: parseJson(bytes.subarray(0, Number(length))), binary: bytes.subarray(Number(length))};
}

function checkParameters({parameters, inputs, outputs = []}: InferBody): void {
  for (const given of [parameters, ...[...inputs, ...outputs].map((tensor) => tensor.parameters)]) {
    const field = UNSUPPORTED.find((name) => Boolean(given?.[name]));
    if (field !== undefined) throw badRequest(`the parameter "${field}" is not supported here: leave it out`);
  }
}

type InferBody = ReturnType<typeof checkInfer>;

function readInputs({inputs}: InferBody, binary: Buffer): Map<string, WireTensor> {
  const given = new Map<string, WireTensor>();
  let place = 0;
  for (const input of inputs) {
    const {name, parameters} = input;
    if (given.has(name)) throw badRequest(`input "${name.slice(0, 100)}" is given twice`);
    const bytes = parameters?.['binary_data_size'];
    if (bytes === undefined) {
      given.set(name, shapedTensor(input.data, {...input, dtype: dtypeOf(input)}));
      continue;
    }
    if (
      typeof bytes !== 'number' ||
      !Number.isSafeInteger(bytes) ||
      bytes < 0 ||
      place + bytes > binary.length
    ) {
      throw badRequest(
        `binary_data_size of "${name}" is ${JSON.stringify(bytes)?.slice(0, 40)}; ${binary.length - place} bytes are left`,
      );
    }
    given.set(name, binaryTensor(input, binary.subarray(place, place + bytes)));
    place += bytes;
  }
  if (place !== binary.length) {
    throw badRequest(`${binary.length - place} bytes behind the JSON belong to no input`);
  }
  return given;
}

function dtypeOf({name, datatype}: Static<typeof Input>): TensorType {
  const dtype = DTYPES.get(datatype);
  if (dtype !== undefined) return dtype;
  throw badRequest(
    `datatype of "${name}" is ${datatype.slice(0, 40)}; models here take ${[...DTYPES.keys()].join(', ')}`,
  );
}

function binaryTensor(input: Static<typeof Input>, bytes: Buffer): WireTensor {
  const {name, shape} = input;
  const dtype = dtypeOf(input);
  const size = sizeOf(shape, name);
  const needed = size * emptyValues(dtype, 0).BYTES_PER_ELEMENT;
  if (bytes.length !== needed) {
    throw badRequest(`"${name}" of shape [${shape}] is ${needed} bytes; binary_data_size is ${bytes.length}`);
  }
  const values = valuesIn(dtype, bytes);
  if (dtype === 'bool' && values.some((value) => value > 1)) {
    throw badRequest(`"${name}" is BOOL; its bytes must be 0 or 1`);
  }
  return {dtype, shape, values};
}

/** The values in bytes, little-endian as the protocol and the machines that run Node are; where they lie, if aligned. */
function valuesIn(dtype: TensorType, bytes: Uint8Array): TensorValues {
  const {buffer, byteOffset, length} = bytes.byteOffset % 4 === 0 ? bytes : Uint8Array.from(bytes);
  const Values = VALUE_ARRAYS[dtype];
  return new Values(buffer, byteOffset, length / Values.BYTES_PER_ELEMENT);
}

interface Wanted {
  readonly name: string;
  readonly index: number;
  readonly isBinary: boolean;
}

function wantedOutputs({outputs, parameters}: InferBody, signature: Signature): Wanted[] {
  const isBinary = parameters?.['binary_data_output'] === true;
  if (outputs === undefined || outputs.length === 0) {
    return signature.outputs.map(({name}, index) => ({name, index, isBinary}));
  }
  return outputs.map(({name, parameters: own}) => {
    const index = signature.outputs.findIndex((output) => output.name === name);
    if (index < 0) {
      const known = signature.outputs.map((output) => output.name).join(', ');
      throw badRequest(`the model has no output "${name.slice(0, 100)}"; it has ${known}`);
    }
    const wish = own?.['binary_data'];
    return {name, index, isBinary: typeof wish === 'boolean' ? wish : isBinary};
  });
}

/** Triton's request parameter, in microseconds. */
function timeoutOf({parameters}: InferBody): number | undefined {
  const timeout = parameters?.['timeout'];
  if (timeout === undefined || timeout === 0) return undefined;
  if (typeof timeout === 'number' && timeout > 0 && timeout < 1e12) return timeout / 1000;
  throw badRequest('parameters.timeout must be microseconds, more than 0');
}

function writeAnswer(
  head: object,
  wanted: readonly Wanted[],
  outputs: readonly WireTensor[],
): {body: Buffer | string; jsonBytes: number | null} {
  const binary: Buffer[] = [];
  const described = wanted.map(({name, index, isBinary}) => {
    const {dtype, shape, values} = outputs[index];
    const start = JSON.stringify({name, datatype: DATATYPES[dtype], shape}).slice(0, -1);
    if (!isBinary) return `${start},"data":${flatJson(outputs[index])}}`;
    const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
    binary.push(bytes);
    return `${start},"parameters":{"binary_data_size":${bytes.length}}}`;
  });
  const json = `${JSON.stringify(head).slice(0, -1)},"outputs":[${described.join(',')}]}`;
  if (!wanted.some(({isBinary}) => isBinary)) return {body: json, jsonBytes: null};
  const text = Buffer.from(json);
  return {body: Buffer.concat([text, ...binary]), jsonBytes: text.length};
}
