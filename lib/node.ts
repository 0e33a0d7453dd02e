/**
 * @file The `tfjs-sparsify/node` door: what needs Node (backends with native parts, files).
 */
export type {BackendCheck} from './backend/check.js';
export type {Faster} from './backend/choose.js';
export {doctor, type Diagnosis} from './backend/doctor.js';
export {loadBackend, type LoadBackendOptions, type LoadedBackend} from './backend/load.js';
export type {BackendName} from './backend/names.js';
export type {Processor} from './backend/processor.js';
export {provision, provisionGpu} from './backend/provision.js';
export type {Provisioned, ProvisionOptions} from './provision/provisioned.js';
export {openDataFile, type DataFile, type DataFileOptions, type TensorBatch} from './io/data/data-files.js';
export {fileSystem, type FileSystemHandler, type FileSystemOptions} from './io/model/file-system.js';
export {readLabels, type ClassLabels, type Labels, type TargetLabels} from './io/data/labels.js';
export {loadLayersModel, saveLayersModel, type SaveOptions} from './io/model/model-files.js';
export type * from './report/report-contents.js';
export {renderModelCard, type ModelCardOptions} from './report/model-card.js';
export {measuredLayers, parametersOf, type KnownOfLayers, type MeasuredOn} from './report/model-layers.js';
export {renderReport} from './report/render-report.js';
export {measureOutputErrors, type LayerOutputError, type OutputErrorOptions} from './eval/output-error.js';
