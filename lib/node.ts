/**
 * @file The `tfjs-sparsify/node` door: what needs Node (backends with native parts, files).
 */
export {doctor, type Diagnosis} from './backend/doctor.js';
export {loadBackend, type LoadBackendOptions, type LoadedBackend} from './backend/load.js';
export {provision, type Provisioned, type ProvisionOptions} from './backend/provision.js';
