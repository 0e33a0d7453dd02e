// The part of TensorFlow's C API (tensorflow/c/kernels.h, ops.h, tf_tensor.h) that the ops need, found at run time in
// the libtensorflow that the process has loaded already.
//
// Not linked, and its headers not included: so the addon can't pull in a second copy of TensorFlow, one binary works
// with every version since 2.4, and building it takes a C++ compiler and nothing else.
#ifndef SPARSIFY_TENSORFLOW_TENSORFLOW_API_H_
#define SPARSIFY_TENSORFLOW_TENSORFLOW_API_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace sparsify {

struct TF_Status;
struct TF_Tensor;
struct TF_KernelBuilder;
struct TF_OpDefinitionBuilder;
struct TF_OpKernelConstruction;
struct TF_OpKernelContext;
struct TF_ShapeInferenceContext;

struct TF_AllocatorAttributes {
  size_t struct_size;
  unsigned char on_host;
};

constexpr int TF_OK = 0;
constexpr int TF_INVALID_ARGUMENT = 3;
constexpr int TF_INTERNAL = 13;
constexpr int TF_FLOAT = 1;

// name, result, arguments
#define SPARSIFY_TENSORFLOW_FUNCTIONS(F)                                                                          \
  F(TF_Version, const char*, ())                                                                                  \
  F(TF_NewStatus, TF_Status*, ())                                                                                 \
  F(TF_DeleteStatus, void, (TF_Status*))                                                                          \
  F(TF_SetStatus, void, (TF_Status*, int code, const char* message))                                              \
  F(TF_GetCode, int, (const TF_Status*))                                                                          \
  F(TF_Message, const char*, (const TF_Status*))                                                                  \
  F(TF_TensorData, void*, (const TF_Tensor*))                                                                     \
  F(TF_NumDims, int, (const TF_Tensor*))                                                                          \
  F(TF_Dim, int64_t, (const TF_Tensor*, int))                                                                     \
  F(TF_DeleteTensor, void, (TF_Tensor*))                                                                          \
  F(TF_NewOpDefinitionBuilder, TF_OpDefinitionBuilder*, (const char* name))                                       \
  F(TF_OpDefinitionBuilderAddInput, void, (TF_OpDefinitionBuilder*, const char*))                                 \
  F(TF_OpDefinitionBuilderAddOutput, void, (TF_OpDefinitionBuilder*, const char*))                                \
  F(TF_OpDefinitionBuilderAddAttr, void, (TF_OpDefinitionBuilder*, const char*))                                  \
  F(TF_OpDefinitionBuilderSetShapeInferenceFunction, void,                                                        \
    (TF_OpDefinitionBuilder*, void (*)(TF_ShapeInferenceContext*, TF_Status*)))                                   \
  F(TF_ShapeInferenceContextSetUnknownShape, void, (TF_ShapeInferenceContext*, TF_Status*))                       \
  F(TF_RegisterOpDefinition, void, (TF_OpDefinitionBuilder*, TF_Status*))                                         \
  F(TF_NewKernelBuilder, TF_KernelBuilder*,                                                                       \
    (const char* op, const char* device, void* (*create)(TF_OpKernelConstruction*),                               \
     void (*compute)(void*, TF_OpKernelContext*), void (*destroy)(void*)))                                        \
  F(TF_RegisterKernelBuilder, void, (const char* kernel, TF_KernelBuilder*, TF_Status*))                          \
  F(TF_OpKernelConstruction_GetAttrSize, void,                                                                    \
    (TF_OpKernelConstruction*, const char* name, int32_t* list_size, int32_t* total_size, TF_Status*))            \
  F(TF_OpKernelConstruction_GetAttrString, void,                                                                  \
    (TF_OpKernelConstruction*, const char* name, char* value, size_t size, TF_Status*))                           \
  F(TF_OpKernelConstruction_GetAttrInt64, void,                                                                   \
    (TF_OpKernelConstruction*, const char* name, int64_t* value, TF_Status*))                                     \
  F(TF_OpKernelConstruction_Failure, void, (TF_OpKernelConstruction*, TF_Status*))                                \
  F(TF_OpKernelContext_Failure, void, (TF_OpKernelContext*, TF_Status*))                                          \
  F(TF_NumInputs, int, (TF_OpKernelContext*))                                                                     \
  F(TF_GetInput, void, (TF_OpKernelContext*, int, TF_Tensor**, TF_Status*))                                       \
  F(TF_SetOutput, void, (TF_OpKernelContext*, int, const TF_Tensor*, TF_Status*))                                 \
  F(TF_AllocateOutput, TF_Tensor*,                                                                                \
    (TF_OpKernelContext*, int index, int dtype, const int64_t* dims, int rank, size_t bytes, TF_Status*))         \
  F(TF_AllocateTemp, TF_Tensor*,                                                                                  \
    (TF_OpKernelContext*, int dtype, const int64_t* dims, int rank, TF_AllocatorAttributes*, TF_Status*))

struct TensorFlowApi {
#define SPARSIFY_DECLARE(name, result, arguments) result(*name) arguments;
  SPARSIFY_TENSORFLOW_FUNCTIONS(SPARSIFY_DECLARE)
#undef SPARSIFY_DECLARE
};

// The functions, once LoadTensorFlow has succeeded.
extern TensorFlowApi tensorflow;

// Looks the functions up in the loaded libtensorflow. Returns why that failed, or an empty string. Never loads a
// library by itself.
std::string LoadTensorFlow();

}  // namespace sparsify

#endif  // SPARSIFY_TENSORFLOW_TENSORFLOW_API_H_
