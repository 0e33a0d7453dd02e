// The decoder's part of the Node-API module for tfjs-node-gpu: the functions of ../decoder-addon.h, computed on the GPU.
#ifndef SPARSIFY_CUDA_DECODER_ADDON_H_
#define SPARSIFY_CUDA_DECODER_ADDON_H_

#include <node_api.h>

namespace sparsify::cuda {

void ExportDecoder(napi_env env, napi_value exports);

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_DECODER_ADDON_H_
