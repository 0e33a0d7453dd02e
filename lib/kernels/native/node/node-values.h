// Values and functions for JavaScript, by Node-API.
#ifndef SPARSIFY_NODE_NODE_VALUES_H_
#define SPARSIFY_NODE_NODE_VALUES_H_

#include <node_api.h>

#include <initializer_list>
#include <string>

namespace sparsify {

inline napi_value Number(napi_env env, double value) {
  napi_value number = nullptr;
  napi_create_double(env, value, &number);
  return number;
}

inline napi_value Boolean(napi_env env, bool value) {
  napi_value boolean = nullptr;
  napi_get_boolean(env, value, &boolean);
  return boolean;
}

inline napi_value Text(napi_env env, const std::string& value) {
  napi_value text = nullptr;
  napi_create_string_utf8(env, value.c_str(), value.size(), &text);
  return text;
}

// The first argument of a call; `undefined` if there is none.
inline napi_value Argument(napi_env env, napi_callback_info info) {
  napi_value argument = nullptr;
  size_t count = 1;
  napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr);
  return argument;
}

struct ExportedFunction {
  const char* name;
  napi_callback function;
};

// Gives a module its functions; an exception is pending if that fails.
inline void ExportFunctions(napi_env env, napi_value exports, std::initializer_list<ExportedFunction> functions) {
  for (const auto& [name, callback] : functions) {
    napi_value function = nullptr;
    if (napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function) == napi_ok &&
        napi_set_named_property(env, exports, name, function) == napi_ok) {
      continue;
    }
    napi_throw_error(env, nullptr, "there is no memory for the functions of the native kernels");
    return;
  }
}

// A function that registers the ops, or throws why that failed.
template <std::string (*kRegister)()>
napi_value JsRegister(napi_env env, napi_callback_info) {
  const std::string problem = kRegister();
  if (!problem.empty()) napi_throw_error(env, nullptr, problem.c_str());
  return nullptr;
}

}  // namespace sparsify

#endif  // SPARSIFY_NODE_NODE_VALUES_H_
