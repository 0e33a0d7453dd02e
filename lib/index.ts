/**
 * @file Activation sparsity for TensorFlow.js: the public API, on any backend, in browsers and Node.
 */
export {sparsifyActivations, retarget, type SparsifyOptions, type SparsifyScopes} from './sparsify.js';
export {
  allocateSparsity,
  type AllocateOptions,
  type AllocationMeasures,
  type AllocationProgress,
} from './allocate.js';
export {
  allocateFormats,
  compareFormats,
  type AllocateFormatsOptions,
  type CompareFormatsOptions,
  type FormatAllocation,
  type FormatComparison,
  type FormatProgress,
  type LeftOutFormat,
} from './allocate-formats.js';
export {modelInFormat, type ModelInFormatOptions, type OtherFormats} from './model-in-format.js';
export type {FormatPoint, ModelFormat} from './allocation/format-points.js';
export type {AllocationScopes, SparsityBounds} from './allocation/bounds.js';
export type {
  Allocation,
  AllocationMethod,
  AllocationTarget,
  AllocationWeighting,
  LayerAllocation,
  LayerProbe,
  LossMetric,
  ProbeErrors,
  TradeOffPoint,
} from './metadata/allocation.js';
export type {
  LossMeasure,
  LossOptions,
  MeasuredLoss,
  MeasuredSpeed,
  MeasureOptions,
  SpeedMeasure,
} from './allocation/measures.js';
export {
  compressWeights,
  decompressWeights,
  inspectWeights,
  type CompressOptions,
  type DecompressOptions,
} from './compress.js';
export type {WeightFormat, WeightReport} from './model/compressible.js';
export {
  dequantizeInt8,
  quantizeInt8,
  type ChannelAxis,
  type Int8Mode,
  type Int8Values,
  type MatrixShape,
} from './quantization/int8.js';
export {
  dequantizeInt4,
  quantizeInt4,
  type Int4Kind,
  type Int4Mode,
  type Int4Shape,
  type Int4Source,
  type Int4Values,
} from './quantization/int4.js';
export type {
  BackupMode,
  CompressionMode,
  GroupSizeFallback,
  Int4Options,
  SensitivityMetric,
} from './compression/compression-options.js';
export {openDataBlob} from './io/data/data-blob.js';
export type {DataFile, DataFileOptions} from './io/data/tensor-batches.js';
export {measureLatency, type LatencyOptions} from './eval/latency.js';
export {randomInputs} from './eval/random-inputs.js';
export {measureSparsity, type LayerSparsity} from './eval/measure-sparsity.js';
export {inspect, type DenseReport} from './model/inspect.js';
export {
  IgnoredScope,
  TargetScope,
  type Scope,
  type ScopeOptions,
  type Subgraph,
} from './scope/target-scope.js';
export type {TargetSparsityByScope} from './scope/parse-targets.js';
export {
  Dataset,
  type Batches,
  type DataSource,
  type DatasetOptions,
  type DatasetTransform,
} from './dataset.js';
export {SparsifyingDense, type SparsifyingDenseArgs} from './layers/sparsifying-dense.js';
export {registerLayers, withLayers, type SerializableClass} from './layers/registry.js';
export type {CalibrationMethod, CalibrationOptions} from './calibration/calibrate.js';
export type {Progress} from './calibration/model-batches.js';
export type {RunOptions} from './calibration/recording-pass.js';
export {allocationOf, attachStatistics, statisticsOf} from './metadata/attached-statistics.js';
export {CalibrationStatistics, type CalibrationStatisticsJson} from './metadata/calibration-statistics.js';
export type {TokenMaskOptions} from './calibration/token-mask.js';
export {AbsHistogram} from './stats/histogram.js';
export type {HistogramJSON} from './stats/histogram-json.js';
export {
  registerSparsifiedMatMul,
  sparsifiedMatMul,
  type SparsifiedMatMulOptions,
} from './kernels/sparsified-matmul.js';
export type {CompressedMatrix} from './kernels/compressed-matrix.js';
export type {Int4Attrs, Int4Matrix} from './kernels/int4-kernels.js';
export type {Int8Matrix} from './kernels/int8-kernels.js';
export type {FusedActivation} from './kernels/activations.js';
export type {SparsifyWarning, WarningOptions} from './warnings.js';
export {BackendError, DatasetError, FileError, ModelError, ScopeError, SparsifyError} from './errors.js';
