/**
 * @file The `tfjs-sparsify/node` door: what needs Node (backends with native parts, files).
 */
export type {BackendCheck} from './backend/check.js';
export type {Faster} from './backend/choose.js';
export {doctor, type Diagnosis} from './backend/doctor.js';
export {loadBackend, type LoadBackendOptions, type LoadedBackend} from './backend/load.js';
export type {BackendName} from './backend/names.js';
export type {Processor} from './backend/processor.js';
export {provision, type Provisioned, type ProvisionOptions} from './backend/provision.js';
