#include "tensorflow-api.h"

#include <dlfcn.h>

#include <vector>

#if defined(__APPLE__)
#include <mach-o/dyld.h>
#else
#include <link.h>
#endif

namespace sparsify {

TensorFlowApi tensorflow;

namespace {

// Paths of the loaded libraries whose file name starts with libtensorflow: libtensorflow.so.2 of the official
// archive, libtensorflow_cc.so.2 of the Python package, and the _framework library that holds some of the functions.
std::vector<std::string> LoadedTensorFlowLibraries() {
  std::vector<std::string> paths;
  const auto add = [&paths](const char* path) {
    const std::string text = path ? path : "";
    if (text.substr(text.rfind('/') + 1).rfind("libtensorflow", 0) == 0) paths.push_back(text);
  };
#if defined(__APPLE__)
  for (uint32_t i = 0; i < _dyld_image_count(); i++) add(_dyld_get_image_name(i));
#else
  struct Visitor {
    static int Visit(dl_phdr_info* info, size_t, void* names) {
      static_cast<std::vector<std::string>*>(names)->push_back(info->dlpi_name ? info->dlpi_name : "");
      return 0;
    }
  };
  std::vector<std::string> names;
  dl_iterate_phdr(&Visitor::Visit, &names);
  for (const std::string& name : names) add(name.c_str());
#endif
  return paths;
}

}  // namespace

std::string LoadTensorFlow() {
  std::vector<void*> handles;
  for (const std::string& path : LoadedTensorFlowLibraries()) {
    if (void* handle = dlopen(path.c_str(), RTLD_LAZY | RTLD_NOLOAD)) handles.push_back(handle);
  }
  if (handles.empty()) return "no libtensorflow is loaded in this process; load @tensorflow/tfjs-node first";
  const auto find = [&handles](const char* name) -> void* {
    for (void* handle : handles) {
      if (void* symbol = dlsym(handle, name)) return symbol;
    }
    return nullptr;
  };
  TensorFlowApi found{};
#define SPARSIFY_FIND(name, result, arguments)                                              \
  found.name = reinterpret_cast<result(*) arguments>(find(#name));                          \
  if (found.name == nullptr) return "the loaded libtensorflow has no function " #name;
  SPARSIFY_TENSORFLOW_FUNCTIONS(SPARSIFY_FIND)
#undef SPARSIFY_FIND
  tensorflow = found;
  return "";
}

}  // namespace sparsify
